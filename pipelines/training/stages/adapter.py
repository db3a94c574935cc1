"""Stage ``adapter``: SAVA's projections, masks and predictors on the latents of the frozen codecs."""

from __future__ import annotations

from ...models.adapter.net import AdapterConfig, MaskedAdapter
from ...models.pocket.load import ADD_ONS
from ...models.pocket.network import POCKET
from ..adapter import MASKS_SLOWER, AdapterStage, Price
from ..data import load_codecs
from ..judges import judge_adapter
from .registry import Job, Preset, register
from .sources import fixed_length_clips

PRESET = Preset(steps=2400, batch=32, lr=1.5e-3, score_every=300, lr_factors=MASKS_SLOWER, bfloat16=False)


@register("adapter", PRESET)
def build(job: Job) -> AdapterStage:
    """'score' is the mean AUROC of both masks."""
    codecs, cache = load_codecs(), fixed_length_clips(job)
    net = MaskedAdapter(AdapterConfig(POCKET.video_channels, POCKET.audio_channels))
    path, steps = job.folder / ADD_ONS["pocket-adapter"].name, job.steps or PRESET.steps
    return AdapterStage(cache, net, codecs, path, price=Price(), steps=steps, judge=judge_adapter)
