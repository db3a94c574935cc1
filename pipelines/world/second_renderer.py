"""A second renderer, whose clips neither look nor sound like the pocket world: a test of methods that need no model.

At each event a soft disc jumps to another position over drifting clouds under a shaking camera, with a noise burst or a chirp in a
reverberant room with hum and hiss. Weather clips show clouds and wind only: no audio event coincides with a visible one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.sizes import ClipShape
from ..core.streams import Clip

CLOUD_KNOTS = 12  # of the interpolated noise along each axis
SHAKE = 0.004  # standard deviation of the camera's position, in frame widths
REVERBERATION = 0.25  # seconds
HISS = 0.01  # amplitude
MIN_INTERVAL, MARGIN = 0.25, 0.3  # seconds between events, and free of events at both ends


@dataclass(frozen=True)
class ClipEvents:
    """The events of a clip: visible at ``times`` (seconds) and audible at ``sounds`` (None: at the same times)."""

    seed: int
    times: tuple[float, ...]
    sounds: tuple[float, ...] | None = None


def random_events(seed: int, *, seconds: float) -> ClipEvents:
    """Four to ten irregular events."""
    rng = torch.Generator().manual_seed(seed)
    count, times = int(torch.randint(4, 11, (), generator=rng)), list[float]()
    while len(times) < count:
        when = float(torch.rand((), generator=rng)) * (seconds - 2 * MARGIN) + MARGIN
        if all(abs(when - t) >= MIN_INTERVAL for t in times):
            times.append(when)
    return ClipEvents(seed, tuple(sorted(times)))


def render_events(events: ClipEvents, shape: ClipShape) -> Clip:
    """A stereo clip of ``events``."""
    rng = torch.Generator().manual_seed(events.seed + 1)
    frames = _clouds(rng, shape)
    rows, columns = (torch.linspace(0, 1, n) for n in (shape.height, shape.width))
    places = torch.rand(len(events.times) + 1, 2, generator=rng) * 0.6 + 0.2
    colour = torch.rand(3, generator=rng) * 0.5 + 0.5
    for f in range(shape.frames):
        y, x = places[sum(t <= f / shape.fps for t in events.times)] + SHAKE * torch.randn(2, generator=rng)
        disc = torch.sigmoid((0.12 - ((rows[:, None] - y) ** 2 + (columns - x) ** 2).sqrt()) * 40)[..., None]
        frames[f] = frames[f] * (1 - disc) + colour * disc
    return Clip(frames, float(shape.fps), _sounds(rng, events, shape), shape.sample_rate)


def render_weather(seed: int, shape: ClipShape) -> Clip:
    """A clip of clouds and wind, whose video and audio are unrelated."""
    rng = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfft(torch.randn(2, shape.samples, generator=rng))
    pink = torch.fft.irfft(spectrum / (1 + torch.arange(spectrum.shape[1])).sqrt(), shape.samples)
    gusts = F.interpolate(torch.rand(1, 2, 24, generator=rng), shape.samples, mode="linear")[0]
    return Clip(_clouds(rng, shape), float(shape.fps), 0.2 * gusts * pink / pink.abs().amax(), shape.sample_rate)


def _clouds(rng: torch.Generator, shape: ClipShape) -> Tensor:
    """Drifting coloured noise, [f, h, w, 3] in 0..1."""
    knots = torch.rand(1, 3, max(2, shape.frames // 6), CLOUD_KNOTS, CLOUD_KNOTS, generator=rng)
    size = (shape.frames, shape.height, shape.width)
    return 0.25 + 0.3 * F.interpolate(knots, size, mode="trilinear", align_corners=False)[0].permute(1, 2, 3, 0)


def _sounds(rng: torch.Generator, events: ClipEvents, shape: ClipShape) -> Tensor:
    """Noise bursts or chirps with reverberation, hum and hiss: [2, samples]."""
    rate, count = shape.sample_rate, shape.samples
    dry, clock = torch.zeros(2, count), torch.arange(round(0.2 * rate)) / rate
    for when in events.times if events.sounds is None else events.sounds:
        pitch = 300 + 1500 * float(torch.rand((), generator=rng))
        chirp = torch.sin(2 * math.pi * (pitch * clock + 2000 * clock**2))
        burst = torch.randn(len(clock), generator=rng) if float(torch.rand((), generator=rng)) < 0.5 else chirp
        start = round(when * rate)
        piece = (burst * torch.exp(-clock / 0.04))[: max(0, count - start)]
        dry[:, start : start + len(piece)] += piece * (0.3 + 0.7 * torch.rand(2, 1, generator=rng))
    tail = torch.randn(2, round(REVERBERATION * rate), generator=rng) * torch.exp(
        -torch.linspace(0, 6, round(REVERBERATION * rate))
    )
    size = count + tail.shape[1]
    wet = torch.fft.irfft(torch.fft.rfft(dry, size) * torch.fft.rfft(0.05 * tail, size), size)[:, :count]
    hum = 0.01 * torch.sin(2 * math.pi * 50 * torch.arange(count) / rate)
    return (0.4 * (dry + wet) + hum + HISS * torch.randn(2, count, generator=rng)).clamp(-1, 1)
