"""Footage that a generated clip keeps: a video to generate audio for, audio to generate a video for, or a first frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.keep import AUDIO, FIRST, VIDEO
from ..core.sizes import ClipShape
from ..core.streams import Clip
from .conform import read_streams
from .sound import read_sound

SLACK = 0.1  # seconds by which footage may be too short; it is padded with its last frame or with silence


@dataclass(frozen=True)
class Footage:
    """One stream of a file. ``keep`` is 'video', 'audio' or 'first frame'."""

    keep: str
    frames: Float[Tensor, "f h w 3"] | None = None
    waveform: Float[Tensor, "channels samples"] | None = None
    sample_rate: int = 0

    def over(self, clip: Clip) -> Clip:
        """``clip`` with the kept stream replaced by the original footage instead of the codec's reconstruction of it."""
        if self.frames is not None and self.keep == VIDEO:
            return Clip(self.frames, clip.fps, clip.waveform, clip.sample_rate)
        if self.waveform is not None:
            return Clip(clip.frames, clip.fps, self.waveform, self.sample_rate)
        return clip


def read_footage(path: Path, keep: str, shape: ClipShape, *, start: float = 0.0) -> Footage:
    """``shape.duration`` seconds of ``path`` starting at ``start`` seconds, or its first frame.

    Raises:
        ValueError: the file cannot be read, lacks the stream, or is too short.
    """
    streams = read_streams(path, shape)
    stream = streams.audio if keep == AUDIO else streams.video
    if stream is None:
        raise ValueError(f"{path} has no {AUDIO if keep == AUDIO else VIDEO} stream to keep.")
    if keep == FIRST:
        return Footage(keep, frames=stream[:1])
    lasts = stream.shape[1] / shape.sample_rate if keep == AUDIO else len(stream) / shape.fps
    if start < 0 or start + shape.duration > lasts + SLACK:
        raise ValueError(
            f"{path} lasts {lasts:.2f} s, but {shape.duration:g} s starting at {start:g} s are required. Use a longer file or a shorter "
            "clip."
        )
    if keep == AUDIO:
        waveform, rate = read_sound(path)
        return Footage(
            keep, waveform=waveform[:, round(start * rate) :][:, : round(shape.duration * rate)], sample_rate=rate
        )
    frames = stream[round(start * shape.fps) :][: shape.frames]
    missing = shape.frames - len(frames)
    return Footage(keep, frames=torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)]))
