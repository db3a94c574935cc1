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
from .conform import read_pictures
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
    if not start >= 0:
        raise ValueError(f"The start time is {start:g} s; it must be 0 or more.")
    if keep == AUDIO:
        waveform, rate = read_sound(path, start=start, seconds=shape.duration)
        _check_length(path, start + waveform.shape[1] / rate, start, shape.duration)
        return Footage(keep, waveform=waveform, sample_rate=rate)
    if keep == FIRST:
        return Footage(keep, frames=read_pictures(path, shape, start=0.0, count=1)[0])
    frames, end = read_pictures(path, shape, start=start, count=shape.frames)
    _check_length(path, end, start, shape.duration)
    missing = shape.frames - len(frames)
    return Footage(keep, frames=torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)]))


def _check_length(path: Path, end: float, start: float, seconds: float) -> None:
    """Refuse footage that ends more than ``SLACK`` before ``start + seconds``."""
    if end + SLACK < start + seconds:
        raise ValueError(
            f"{path} lasts {end:.2f} s, but {seconds:g} s starting at {start:g} s are required. Use a longer file or a shorter clip."
        )
