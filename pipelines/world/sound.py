"""Audio of the world: each event adds its kind's template at its onset, panned to the subject's position.

Letters: n events, l samples of a template, b clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .scene import SOUNDING, Scene

ATTACK = 0.002  # seconds
SMALL_PITCH = 1.5  # factor on the frequencies of small subjects
LEVEL = 0.8
TEMPLATE_SECONDS = {"ball": 0.18, "bell": 0.7, "lamp": 0.14, "drum": 0.2, "bird": 0.12, "clock": 0.06}


def _sine(frequency: float, t: Tensor, pitch: Tensor) -> Tensor:
    return torch.sin(2 * math.pi * frequency * pitch * t)


def _ball(t: Tensor, pitch: Tensor) -> Tensor:
    # phase of the sweep 90 + 90 exp(-25 t) Hz
    phase = 90 * t + 90 / 25 * (1 - torch.exp(-25 * t))
    return torch.sin(2 * math.pi * pitch * phase) * torch.exp(-18 * t)


def _bell(t: Tensor, pitch: Tensor) -> Tensor:
    partials = ((700.0, 0.5, 5), (1680.0, 0.3, 7), (2870.0, 0.15, 9))
    return sum((a * _sine(f, t, pitch) * torch.exp(-d * t) for f, a, d in partials), torch.zeros_like(t))


def _lamp(t: Tensor, pitch: Tensor) -> Tensor:
    fade = ((TEMPLATE_SECONDS["lamp"] - t) / 0.02).clamp(0, 1)
    return 0.6 * torch.tanh(3 * _sine(440.0, t, pitch)) * fade


def _drum(t: Tensor, pitch: Tensor) -> Tensor:
    # Noise is a hash of the time, so that no random generator is needed.
    noise = torch.frac(torch.sin((t * 16_000).round() * 12.9898) * 43758.5453) * 2 - 1
    return 0.5 * noise * torch.exp(-40 * t) + 0.8 * _sine(190.0, t, pitch) * torch.exp(-22 * t)


def _bird(t: Tensor, pitch: Tensor) -> Tensor:
    length = TEMPLATE_SECONDS["bird"]
    phase = 1900 * t + (3400 - 1900) / (2 * length) * t**2
    return 0.6 * torch.sin(2 * math.pi * pitch * phase) * torch.sin(math.pi * t / length).clamp_min(0)


def _clock(t: Tensor, pitch: Tensor) -> Tensor:
    return 0.5 * (_sine(2200.0, t, pitch) + _sine(1270.0, t, pitch)) * torch.exp(-70 * t)


_TEMPLATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ball": _ball,
    "bell": _bell,
    "lamp": _lamp,
    "drum": _drum,
    "bird": _bird,
    "clock": _clock,
}


def render_sound(
    scenes: Sequence[Scene], *, samples: int, sample_rate: int, device: str | torch.device = "cpu"
) -> Tensor:
    """Stereo waveforms of ``scenes`` with constant-power panning: [b, 2, samples], float32 in (-1, 1)."""
    out = torch.zeros(len(scenes) * 2 * samples, device=device)
    for kind in SOUNDING:
        rows = [
            (b, t, s.x, SMALL_PITCH if s.size == "small" else 1.0)
            for b, scene in enumerate(scenes)
            for s in scene.subjects
            if s.kind == kind and s.heard
            for t in s.times
        ]
        if not rows:
            continue
        clip, onset, x, pitch = torch.tensor(rows, dtype=torch.float64, device=device).T
        start = (onset * sample_rate).ceil().long()
        count = math.ceil(TEMPLATE_SECONDS[kind] * sample_rate)
        index = start[:, None] + torch.arange(count, device=device)  # n l
        t = (index / sample_rate - onset[:, None]).float()
        wave = LEVEL * _TEMPLATES[kind](t, pitch[:, None].float()) * (t / ATTACK).clamp(0, 1)
        inside = index < samples
        angle = x.clamp(0, 1) * math.pi / 2
        for channel, gain in enumerate((angle.cos(), angle.sin())):
            flat = (clip.long()[:, None] * 2 + channel) * samples + index
            out.index_add_(0, flat[inside], (wave * gain[:, None].float())[inside])
    return torch.tanh(out).view(len(scenes), 2, samples)
