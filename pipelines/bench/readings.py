"""Readings of clips by the probes: what is heard, from which side, and what is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.sizes import PIXEL_STEP, ClipShape
from ..core.streams import Clip, Latents, Streams
from ..core.weights import WEIGHTS, load_module
from ..media.sound import resample
from ..models.pocket.codecs import FrameCodec, SoundCodec
from ..models.pocket.domain import video_domain_problem
from ..models.pocket.generate import decode
from ..models.pocket.load import PocketModel
from ..models.pocket.network import POCKET
from ..sync.events import Events, f1, offset
from ..world import Scene, render_picture, render_sound
from .probes import AudioProbe, Seen, VideoProbe

AUDIO_PROBE = WEIGHTS / "pocket-audio-probe.safetensors"
VIDEO_PROBE = WEIGHTS / "pocket-video-probe.safetensors"
SIDE = 64  # pixels of the frames on which the video probe was trained
SIDE_SECONDS = 0.08  # duration after an onset over which its side is measured
# A quarter of the level difference between the world's channels; after the audio codec, half of it remains for a large ball.
SIDE_DECIBELS = 2.5


@dataclass(frozen=True)
class Probes:
    """The audio probe and the video probe."""

    audio: AudioProbe
    video: VideoProbe

    @classmethod
    def load(cls) -> Probes:
        """The probes that ship with the pack."""
        return cls(
            load_module(AUDIO_PROBE, "audio-probe", AudioProbe), load_module(VIDEO_PROBE, "video-probe", VideoProbe)
        )


@dataclass(frozen=True)
class Reading:
    """What the probes detect in one clip: the events heard, the side of each audible kind, and everything seen."""

    heard: Events
    sides: dict[str, str]
    seen: Seen


def read(probes: Probes, clips: Sequence[Clip]) -> list[Reading]:
    """The readings of clips that all have the same size and rates."""
    frames = torch.stack([clip.frames for clip in clips]).permute(0, 1, 4, 2, 3)
    heard = probes.audio.events(torch.stack([clip.waveform for clip in clips]))
    seen = probes.video.read(frames, fps=clips[0].fps)
    return [
        Reading(events, {kind: side(clip, times) for kind, times in events.items()}, visible)
        for events, visible, clip in zip(heard, seen, clips, strict=True)
    ]


def side(clip: Clip, times: Sequence[float]) -> str:
    """'left', 'middle' or 'right', by the difference of the channels' levels just after ``times``."""
    rate, length = clip.sample_rate, round(SIDE_SECONDS * clip.sample_rate)
    pieces = [clip.waveform[:, max(0, round(t * rate)) :][:, :length] for t in times]
    left, right = (sum(float(piece[c].square().sum()) for piece in pieces) + 1e-8 for c in (0, 1))
    difference = 10 * math.log10(left / right)
    return "middle" if abs(difference) < SIDE_DECIBELS else "left" if difference > 0 else "right"


def as_rendered(clip: Clip) -> Clip:
    """``clip`` converted to the format that the probes were trained on: the shorter side ``SIDE`` pixels and the other a multiple of 32,
    16 fps, 16 kHz, stereo. Values that already match are unchanged, and nothing is cropped."""
    height, width = clip.frames.shape[1:3]
    scale = SIDE / min(height, width)
    size = tuple(max(1, round(side * scale / PIXEL_STEP)) * PIXEL_STEP for side in (height, width))
    frames = clip.frames
    if clip.fps != POCKET.fps:
        count = max(1, round(len(frames) / clip.fps * POCKET.fps))
        shown = ((torch.arange(count) + 0.5) * clip.fps / POCKET.fps).long().clamp_max(len(frames) - 1)
        frames = frames[shown]
    if (height, width) != size:
        frames = F.interpolate(frames.permute(0, 3, 1, 2), size=size, mode="area").permute(0, 2, 3, 1)
    waveform = clip.waveform
    if (clip.sample_rate, len(waveform)) != (POCKET.sample_rate, 2):
        waveform = resample(waveform, rate=clip.sample_rate, to=POCKET.sample_rate)
    return Clip(frames, float(POCKET.fps), waveform, POCKET.sample_rate)


def unlike_the_world(clip: Clip) -> str:
    """A warning if the frames of ``clip`` do not look like the pocket world, for which the probes were trained; otherwise ""."""
    reason = video_domain_problem(as_rendered(clip).frames.permute(0, 3, 1, 2))
    return reason and f"{reason} The probes only know the pocket world, so the detected events are not reliable."


def read_events(clip: Clip, probes: Probes | None = None) -> tuple[Events, Events, str]:
    """Events heard and seen in a clip of the pocket world, at any size and rate, and their synchrony in words."""
    (reading,) = read(probes or Probes.load(), [as_rendered(clip)])
    heard, seen = reading.heard, reading.seen.events
    late = offset(heard, seen)
    delay = "" if late is None else f", audio {abs(late) * 1000:.0f} ms {'late' if late >= 0 else 'early'}"
    return heard, seen, f"synchrony F1 {f1(heard, seen):.2f}{delay}"


def render(scenes: Sequence[Scene], shape: ClipShape) -> tuple[Tensor, Tensor]:
    """Frames [b, t, 3, h, w] and waveforms [b, 2, samples] of ``scenes``."""
    return render_picture(scenes, shape), render_sound(scenes, samples=shape.samples, sample_rate=shape.sample_rate)


def true_latents(codecs: tuple[FrameCodec, SoundCodec], scenes: Sequence[Scene], shape: ClipShape) -> Latents:
    """Latents of the rendered ``scenes``."""
    frames, waveforms = render(scenes, shape)
    return Streams(codecs[0].encode(frames), codecs[1].encode(waveforms))


def reconstruct(model: PocketModel, scenes: Sequence[Scene], shape: ClipShape) -> list[Clip]:
    """The rendered ``scenes`` after both codecs: the ceiling of every metric."""
    return decode(model, true_latents(model.codecs, scenes, shape), shape)
