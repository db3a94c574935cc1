"""Stage ``video-decoder``: the refiner behind the video codec's linear inverse."""

from __future__ import annotations

from typing import cast

from torch import nn

from ...models.pocket.load import FILES, load_video_codec
from ...models.pocket.video_codec import Enlarge, VideoCodec
from ..codec import VideoDecoderStage
from ..decoders import DecoderClips
from .registry import Job, Preset, register

REFINER = {"widths": (160, 96, 48), "depths": (4, 2, 2)}


@register("video-decoder", Preset(steps=1000, batch=8, lr=1.5e-3, score_every=500))
def build(job: Job) -> VideoDecoderStage:
    clips = DecoderClips.build(job.run, seed=job.seed)
    codec = _with_refiner(load_video_codec(), new=job.from_scratch)
    return VideoDecoderStage(codec, job.folder / FILES["video-codec"].name, clips=clips)


def _with_refiner(codec: VideoCodec, *, new: bool) -> VideoCodec:
    """``codec`` with a trainable refiner, a new one where asked for or missing; the PCA, which defines the latents, is kept."""
    if codec.refiner and not new:
        return codec.requires_grad_(True)
    complete = VideoCodec(channels=codec.channels, **REFINER)
    complete.pca = codec.pca
    if complete.refiner:
        nn.init.zeros_(cast(Enlarge, complete.refiner.net[-1]).linear.weight)
    return complete.requires_grad_(True)
