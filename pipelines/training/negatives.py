"""Changed clips for the contrastive losses of v0.1's prior: the same clip with one stream changed in space, or in time.

The kinds follow JavisDiT's training (arXiv 2503.23377). Its changes that need other data are left out: objects pasted from SA-V, sounds
mixed in from TAVGBench, separated sources; and so is time stretching.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..media.segments import Segment
from ..models.javisdit.prior_heads import SPATIAL, TEMPORAL

GREY = 128  # zero in the range of the video codec
CELLS = 6  # masked cells along the shorter side
STALL = 12  # fewest frames of a stall
SILENT = 1e-4  # largest sample of audio that counts as silent
NOISE = 0.05  # standard deviation of the noise that a silent clip gets
Frames = UInt8[Tensor, "t h w 3"]
Waveform = Float[Tensor, "2 samples"]
Change = Callable[[Tensor, torch.Generator], Tensor]


def negatives(segment: Segment, generator: torch.Generator) -> dict[str, Segment]:
    """For each kind, the segment with both streams changed; the losses pair each with the other stream unchanged."""
    return {
        kind: Segment(segment.start, video(segment.frames, generator), _sound(audio, segment.waveform, generator))
        for kind, video, audio in ((SPATIAL, mask_cells, change_level), (TEMPORAL, change_times, change_sound_times))
    }


def _whole(low: int, high: int, generator: torch.Generator) -> int:
    """A random number in low..high."""
    return int(torch.randint(low, max(low, high) + 1, (1,), generator=generator))


def _chance(generator: torch.Generator) -> float:
    return float(torch.rand(1, generator=generator))


def mask_cells(frames: Frames, generator: torch.Generator) -> Frames:
    """Between 20 and 80 % of the cells of a grid are drawn, with repetition, and grey in every frame."""
    side = min(frames.shape[1:3]) // CELLS
    rows, columns = (length // side for length in frames.shape[1:3])
    changed = frames.clone()
    for _ in range(max(1, int(rows * columns * (0.2 + 0.6 * _chance(generator))))):
        top, left = (side * _whole(0, count - 1, generator) for count in (rows, columns))
        changed[:, top : top + side, left : left + side] = GREY
    return changed


def change_times(frames: Frames, generator: torch.Generator) -> Frames:
    """The frames start at another one and wrap around, or one frame stalls."""
    count = len(frames)
    if _chance(generator) < 0.5:
        return frames.roll(-_whole(max(1, count // 10), count // 2 - 1, generator), dims=0)
    length = _whole(min(STALL, count), count, generator)
    first = _whole(0, count - length, generator)
    return torch.cat([frames[:first], frames[first : first + 1].expand(length, -1, -1, -1), frames[first + 1 :]])[
        :count
    ]


def _sound(change: Change, waveform: Waveform, generator: torch.Generator) -> Waveform:
    """The changed audio. Silence cannot be changed: it gets noise."""
    if waveform.abs().max() > SILENT:
        return change(waveform, generator)
    changed, (first, length) = waveform.clone(), _part(waveform, 3, 1, generator)
    changed[:, first : first + length] += NOISE * torch.randn(len(waveform), length, generator=generator)
    return changed


def _part(waveform: Waveform, least: int, most: int, generator: torch.Generator) -> tuple[int, int]:
    """First sample and length of a random part that lasts between 1/``least`` and 1/``most`` of the audio."""
    count = waveform.shape[1]
    length = _whole(count // least, count // most, generator)
    return _whole(0, count - length, generator), length


def change_level(waveform: Waveform, generator: torch.Generator) -> Waveform:
    """At least a third is silenced, or follows a new course of the level: rising, falling, or half a period of a sine or cosine."""
    changed, (first, length) = waveform.clone(), _part(waveform, 3, 1, generator)
    ramp = torch.linspace(0, 1, length)
    courses = (0 * ramp, ramp, 1 - ramp, (math.pi * ramp).sin(), (math.pi * ramp).cos())
    course = courses[_whole(0, len(courses) - 1, generator)]
    scale = 0.5 + 1.5 * _chance(generator)
    changed[:, first : first + length] = (scale * course * changed[:, first : first + length]).clamp(-1, 1)
    return changed


def change_sound_times(waveform: Waveform, generator: torch.Generator) -> Waveform:
    """The audio starts elsewhere and wraps around, pauses, or repeats a part; the end is cut."""
    count, way = waveform.shape[1], _whole(0, 2, generator)
    if way == 0:
        return waveform.roll(-_whole(count // 10, count // 2, generator), dims=1)
    first, length = _part(waveform, 5, 2, generator)
    part = waveform[:, first : first + length]
    added = torch.zeros_like(part) if way == 1 else part
    return torch.cat([waveform[:, :first], added, waveform[:, first:]], dim=1)[:, :count]
