"""Stage ``codecs``: principal components of video patches and of log-mel patches."""

from __future__ import annotations

from typing import Any

from ...core.sizes import ClipShape
from ...core.weights import save_weights, to_half
from ...models.pocket.audio_codec import AudioCodec, log_mel
from ...models.pocket.load import FILES
from ...models.pocket.network import POCKET
from ...models.pocket.video_codec import VideoCodec
from ...world import make_scenes
from ..card import write_card
from ..data import fit_codecs
from .registry import Job, register_fit

CLIPS = 1024


@register_fit("codecs")
def fit(job: Job) -> dict[str, Any]:
    """Fit both codecs to rendered clips and write their weights."""
    rate = POCKET.sample_rate
    video, audio = (
        VideoCodec(channels=POCKET.video_channels),
        AudioCodec(channels=POCKET.audio_channels, sample_rate=rate),
    )
    scenes = make_scenes(job.seed + 1, CLIPS)
    fit_codecs(scenes, ClipShape(), (video, audio), lambda waveform: log_mel(waveform, sample_rate=rate))
    record = {"stage": "codecs", "clips": CLIPS, "seed": job.seed}
    parts = (
        ("video-codec", video, video.config),
        ("audio-codec", audio, audio.config),
    )
    for kind, codec, config in parts:
        path = job.folder / FILES[kind].name
        save_weights(path, to_half(codec), kind=kind, config=config, record=record)
        write_card(path)
    return record
