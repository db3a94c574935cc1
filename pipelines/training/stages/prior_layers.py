"""Stage ``prior-layers``: prior attention on the frozen network."""

from __future__ import annotations

from functools import partial
from typing import cast

from ...bench.runner import Variant
from ...bench.suites.prior import clip_prior
from ...core.weights import load_weights
from ...guidance.strategy import PerStreamCFG
from ...models.addons.prior import PriorLayers, PriorLayersConfig
from ...models.pocket.add_ons import load_layers
from ...models.pocket.load import ADD_ONS, FILES, load_network, load_text_encoder
from ...models.pocket.network import TwinStreamDiT
from ...models.prior.load import load_prior_net
from ...models.prior.net import PriorNet
from ..flow import RECIPES
from ..judges import NetworkJudge
from ..prior import PriorLayersStage
from .registry import Job, Preset, register
from .sources import fixed_length_clips, prior_cache


@register("prior-layers", Preset(steps=2500, batch=64, lr=1.5e-3, score_every=800))
def build(job: Job) -> PriorLayersStage:
    """'score' is the synchrony of clips generated with the priors of the prompts' own clips."""
    file, encoder, network = load_weights(FILES["pocket-av"], "pocket-av"), load_text_encoder(), load_network()
    net, before = load_prior_net(), job.previous_record(ADD_ONS["pocket-prior-layers"])
    layers = new_prior_layers(net, network) if not before else shipped_prior_layers(network, file.sha256)
    judge = NetworkJudge(
        Variant("judged", PerStreamCFG(2.0, 2.0), prior=partial(clip_prior, net), normalise=False), "sync_f1"
    )
    path = job.folder / ADD_ONS["pocket-prior-layers"].name
    latents = fixed_length_clips(job) if job.data else prior_cache(job).latents
    return PriorLayersStage(
        latents, net, layers, network, encoder, path,
        recipe=RECIPES["joint"], base=file.sha256, judge=judge, before=before,
    )  # fmt: skip


def shipped_prior_layers(network: TwinStreamDiT, base: str) -> PriorLayers:
    """The prior layers that ship for a base with hash ``base``, to train further."""
    return cast(PriorLayers, load_layers("pocket-prior-layers", network.config, base).layers)


def new_prior_layers(net: PriorNet, network: TwinStreamDiT) -> PriorLayers:
    """Untrained layers for the tokens of ``net``."""
    own = net.config
    layers = PriorLayers(PriorLayersConfig(own.spatial, own.temporal, own.channels, own.clip.bins), network.config)
    layers.init_weights()
    layers.copy_reader(net.reader)
    return layers
