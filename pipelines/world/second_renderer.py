"""Clips of another renderer: nothing in them looks or sounds like the world, so that what needs no model can be tried elsewhere.

A soft disc jumps to another place over drifting clouds under a shaking camera, with a burst of filtered noise or a chirp in a
reverberant room over hum and hiss; or clouds and wind alone, in which nothing happens together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.sizes import ClipShape
from ..core.streams import Clip

GRAIN = 12  # knots of the clouds along each axis
SHAKE = 0.004  # of the width, of the camera
ROOM = 0.25  # seconds of reverberation
HISS = 0.01
APART, MARGIN = 0.25, 0.3  # seconds between events, and before the first one


@dataclass(frozen=True)
class Happening:
    """A clip's events: seen and heard at ``times`` (seconds); ``sounds`` are other times of the sounds, None the same."""

    seed: int
    times: tuple[float, ...]
    sounds: tuple[float, ...] | None = None


def happening(seed: int, *, seconds: float) -> Happening:
    """Four to ten irregular events."""
    rng = torch.Generator().manual_seed(seed)
    count, times = int(torch.randint(4, 11, (), generator=rng)), list[float]()
    while len(times) < count:
        when = float(torch.rand((), generator=rng)) * (seconds - 2 * MARGIN) + MARGIN
        if all(abs(when - t) >= APART for t in times):
            times.append(when)
    return Happening(seed, tuple(sorted(times)))


def render_second_renderer(what: Happening, shape: ClipShape) -> Clip:
    """The clip, in stereo."""
    rng = torch.Generator().manual_seed(what.seed + 1)
    frames = _clouds(rng, shape)
    rows, columns = (torch.linspace(0, 1, n) for n in (shape.height, shape.width))
    places = torch.rand(len(what.times) + 1, 2, generator=rng) * 0.6 + 0.2
    colour = torch.rand(3, generator=rng) * 0.5 + 0.5
    for f in range(shape.frames):
        y, x = places[sum(t <= f / shape.fps for t in what.times)] + SHAKE * torch.randn(2, generator=rng)
        disc = torch.sigmoid((0.12 - ((rows[:, None] - y) ** 2 + (columns - x) ** 2).sqrt()) * 40)[..., None]
        frames[f] = frames[f] * (1 - disc) + colour * disc
    return Clip(frames, float(shape.fps), _sounds(rng, what, shape), shape.sample_rate)


def render_weather(seed: int, shape: ClipShape) -> Clip:
    """Clouds and wind: picture and sound that move on their own."""
    rng = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfft(torch.randn(2, shape.samples, generator=rng))
    pink = torch.fft.irfft(spectrum / (1 + torch.arange(spectrum.shape[1])).sqrt(), shape.samples)
    gusts = F.interpolate(torch.rand(1, 2, 24, generator=rng), shape.samples, mode="linear")[0]
    return Clip(_clouds(rng, shape), float(shape.fps), 0.2 * gusts * pink / pink.abs().amax(), shape.sample_rate)


def _clouds(rng: torch.Generator, shape: ClipShape) -> Tensor:
    """Coloured noise that drifts, [f, h, w, 3] in 0..1."""
    knots = torch.rand(1, 3, max(2, shape.frames // 6), GRAIN, GRAIN, generator=rng)
    size = (shape.frames, shape.height, shape.width)
    return 0.25 + 0.3 * F.interpolate(knots, size, mode="trilinear", align_corners=False)[0].permute(1, 2, 3, 0)


def _sounds(rng: torch.Generator, what: Happening, shape: ClipShape) -> Tensor:
    """Bursts or chirps with reverberation over hum and hiss, [2, samples]."""
    rate, count = shape.sample_rate, shape.samples
    dry, clock = torch.zeros(2, count), torch.arange(round(0.2 * rate)) / rate
    for when in what.times if what.sounds is None else what.sounds:
        pitch = 300 + 1500 * float(torch.rand((), generator=rng))
        chirp = torch.sin(2 * math.pi * (pitch * clock + 2000 * clock**2))
        burst = torch.randn(len(clock), generator=rng) if float(torch.rand((), generator=rng)) < 0.5 else chirp
        start = round(when * rate)
        piece = (burst * torch.exp(-clock / 0.04))[: max(0, count - start)]
        dry[:, start : start + len(piece)] += piece * (0.3 + 0.7 * torch.rand(2, 1, generator=rng))
    tail = torch.randn(2, round(ROOM * rate), generator=rng) * torch.exp(-torch.linspace(0, 6, round(ROOM * rate)))
    size = count + tail.shape[1]
    wet = torch.fft.irfft(torch.fft.rfft(dry, size) * torch.fft.rfft(0.05 * tail, size), size)[:, :count]
    hum = 0.01 * torch.sin(2 * math.pi * 50 * torch.arange(count) / rate)
    return (0.4 * (dry + wet) + hum + HISS * torch.randn(2, count, generator=rng)).clamp(-1, 1)
