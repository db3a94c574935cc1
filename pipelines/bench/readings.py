"""Readings of clips by the instruments: what is heard, from which side, and what is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.sizes import ClipShape
from ..core.streams import Clip, Latents, Streams
from ..core.weights import WEIGHTS, fill, load_weights
from ..models.pocket.audio_codec import AudioCodec
from ..models.pocket.generate import decode
from ..models.pocket.load import PocketModel
from ..models.pocket.network import POCKET
from ..models.pocket.video_codec import VideoCodec
from ..sync.events import Events, f1, offset
from ..world import Scene, render_picture, render_sound
from .probes import AudioProbe, Seen, VideoProbe

AUDIO_PROBE = WEIGHTS / "pocket-audio-probe.safetensors"
VIDEO_PROBE = WEIGHTS / "pocket-video-probe.safetensors"
SIDE_SECONDS = 0.08  # of sound after an onset in which its side is measured
# A quarter of the world's own difference between the channels: the audio codec leaves a large ball half of it.
SIDE_DECIBELS = 2.5


@dataclass(frozen=True)
class Probes:
    """Both instruments."""

    audio: AudioProbe
    video: VideoProbe

    @classmethod
    def load(cls) -> Probes:
        """The probes that ship with the pack."""
        audio, video = load_weights(AUDIO_PROBE, "audio-probe"), load_weights(VIDEO_PROBE, "video-probe")
        return cls(
            fill(AudioProbe(**audio.config), audio.tensors, source=AUDIO_PROBE),
            fill(VideoProbe(**video.config), video.tensors, source=VIDEO_PROBE),
        )


@dataclass(frozen=True)
class Reading:
    """What was found in one clip: events heard, the side each kind sounds from, and all that is seen."""

    heard: Events
    sides: dict[str, str]
    seen: Seen


def read(probes: Probes, clips: Sequence[Clip]) -> list[Reading]:
    """Read clips of one size and rate."""
    frames = torch.stack([clip.frames for clip in clips]).permute(0, 1, 4, 2, 3)
    heard = probes.audio.events(torch.stack([clip.waveform for clip in clips]))
    seen = probes.video.read(frames, fps=clips[0].fps)
    return [
        Reading(events, {kind: side(clip, times) for kind, times in events.items()}, picture)
        for events, picture, clip in zip(heard, seen, clips, strict=True)
    ]


def side(clip: Clip, times: Sequence[float]) -> str:
    """'left', 'middle' or 'right', by the channels' levels just after ``times`` (interaural level difference)."""
    rate, length = clip.sample_rate, round(SIDE_SECONDS * clip.sample_rate)
    pieces = [clip.waveform[:, max(0, round(t * rate)) :][:, :length] for t in times]
    left, right = (sum(float(piece[c].square().sum()) for piece in pieces) + 1e-8 for c in (0, 1))
    difference = 10 * math.log10(left / right)
    return "middle" if abs(difference) < SIDE_DECIBELS else "left" if difference > 0 else "right"


def reading_of(clip: Clip, probes: Probes | None = None) -> tuple[Events, Events, str]:
    """Events heard and seen in a clip of the pocket world, and their synchrony in words.

    Raises:
        ValueError: the clip's rates are not those of the pocket world, so its probes cannot read it.
    """
    if (clip.fps, clip.sample_rate, len(clip.waveform)) != (POCKET.fps, POCKET.sample_rate, 2):
        raise ValueError(
            f"The clip has {clip.fps:g} fps, {clip.sample_rate} Hz and {len(clip.waveform)} channel(s); the pocket world's probes read "
            f"{POCKET.fps} fps, {POCKET.sample_rate} Hz and 2 channels. Choose no events for clips of other models."
        )
    (reading,) = read(probes or Probes.load(), [clip])
    heard, seen = reading.heard, reading.seen.events
    late = offset(heard, seen)
    delay = "" if late is None else f", sound {abs(late) * 1000:.0f} ms {'late' if late >= 0 else 'early'}"
    return heard, seen, f"synchrony F1 {f1(heard, seen):.2f}{delay}"


def render(scenes: Sequence[Scene], shape: ClipShape) -> tuple[Tensor, Tensor]:
    """Frames [b, t, 3, h, w] and waveforms [b, 2, samples] of ``scenes``."""
    return render_picture(scenes, shape), render_sound(scenes, samples=shape.samples, sample_rate=shape.sample_rate)


def true_latents(codecs: tuple[VideoCodec, AudioCodec], scenes: Sequence[Scene], shape: ClipShape) -> Latents:
    """True clips, encoded."""
    frames, waveforms = render(scenes, shape)
    return Streams(codecs[0].encode(frames), codecs[1].encode(waveforms))


def reconstruct(model: PocketModel, scenes: Sequence[Scene], shape: ClipShape) -> list[Clip]:
    """True clips through both codecs: the ceiling."""
    return decode(model, true_latents(model.codecs, scenes, shape), shape)
