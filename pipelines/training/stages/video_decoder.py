"""Stage ``video-decoder``: the refiner behind the video codec's linear inverse."""

from __future__ import annotations

from typing import cast

from torch import nn

from ...core.sizes import ClipShape
from ...models.pocket.load import FILES, load_video_codec
from ...models.pocket.video_codec import VideoCodec
from ..codec import VideoDecoderStage
from ..data import RENDERED, RenderCache
from .registry import Job, Preset, register

REFINER = {"width": 192, "depth": 4}


@register("video-decoder", Preset(steps=4000, batch=8, lr=1.5e-3, score_every=500))
def build(job: Job) -> VideoDecoderStage:
    # Held-out compositions are excluded: a decoder trained on them would make the measured ceiling too high.
    cache = RenderCache.build(seed=job.seed + 2, count=RENDERED, shape=ClipShape(), split="train")
    return VideoDecoderStage(_with_refiner(load_video_codec()), job.folder / FILES["video-codec"].name, cache=cache)


def _with_refiner(codec: VideoCodec) -> VideoCodec:
    """``codec`` with a trainable refiner, new if it has none; the PCA, which defines the latents, is kept."""
    complete = codec if codec.refiner else VideoCodec(channels=codec.channels, **REFINER)
    complete.pca = codec.pca
    if complete.refiner and not codec.refiner:
        nn.init.zeros_(cast(nn.Conv3d, complete.refiner.net[-1]).weight)
    return complete.requires_grad_(True)
