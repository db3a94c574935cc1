"""Stages ``audio-probe`` and ``video-probe``: the instruments that detect events in audio and in video."""

from __future__ import annotations

from ...bench.readings import AUDIO_PROBE, VIDEO_PROBE
from ...core.sizes import ClipShape
from ...models.pocket.load import load_audio_codec, load_video_codec
from ..data import RENDERED, RenderCache
from ..probes import AudioProbeStage, VideoProbeStage
from .registry import Job, Preset, register


@register("audio-probe", Preset(steps=900, batch=32, lr=2e-3, score_every=150))
def build_audio(job: Job) -> AudioProbeStage:
    """'score' is the F1 of the events heard."""
    return AudioProbeStage(load_audio_codec(), job.folder / AUDIO_PROBE.name)


@register("video-probe", Preset(steps=1200, batch=16, lr=2e-3, score_every=150))
def build_video(job: Job) -> VideoProbeStage:
    """'score' is the mean of event F1, kinds, colours, places and correct rejections."""
    # The probe must read every composition, so the held-out ones are included.
    cache = RenderCache.build(seed=job.seed + 2, count=RENDERED, shape=ClipShape(), split="any")
    return VideoProbeStage(load_video_codec(), job.folder / VIDEO_PROBE.name, cache=cache)
