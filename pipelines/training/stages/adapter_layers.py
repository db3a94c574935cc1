"""Stages ``adapter-v2a`` and ``adapter-a2v``: phi and LoRA of one direction on the frozen network."""

from __future__ import annotations

from ...bench.prompts import AUDIBLE
from ...bench.suites.adapter import adapter_variant
from ...core.weights import load_weights
from ...models.adapter.load import load_adapter
from ...models.addons.adapter import AdapterLayers, AdapterLayersConfig
from ...models.pocket.load import ADD_ONS, FILES, load_network, load_text_encoder
from ..adapter import RANK, AdapterLayersStage
from ..judges import NetworkJudge
from .registry import Job, Preset, register
from .sources import fixed_length_clips

PRESET = Preset(steps=2000, batch=64, lr=3e-3, score_every=1000)


@register("adapter-v2a", PRESET)
@register("adapter-a2v", PRESET)
def build(job: Job) -> AdapterLayersStage:
    """'score' is the synchrony of clips whose other stream is kept from the prompts' own clips."""
    direction = job.stage.removeprefix("adapter-")
    file, encoder, network = load_weights(FILES["pocket-av"], "pocket-av"), load_text_encoder(), load_network()
    adapter = load_weights(ADD_ONS["pocket-adapter"], "pocket-adapter")
    net = load_adapter(adapter.path)
    judge = NetworkJudge(adapter_variant(net, direction), "sync_f1", strata=(*AUDIBLE, "silent"))
    config = AdapterLayersConfig(direction, net.config.dim, RANK, adapter.sha256)
    cache, path = fixed_length_clips(job), job.folder / ADD_ONS[f"pocket-adapter-{direction}"].name
    layers = AdapterLayers(config, network.config)
    return AdapterLayersStage(cache, net, layers, network, encoder, path, base=file.sha256, judge=judge)
