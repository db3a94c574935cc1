"""The rectified-flow schedule and sampler of both versions (Open-Sora's, arXiv 2412.20404), as their inference runs them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...streams import Streams

SIDE = 512
FRAMES = 17  # pixel frames that the shift counts together


def shift_ratio(height: int, width: int, frames: int, *, dtype: torch.dtype = torch.bfloat16) -> float:
    """How much the schedule leans towards noise, by the size asked for in pixels and pixel frames.

    v1.0's configuration says a scale of 5; its sampler never passes it, so that none is used here. The reference computes
    in its network's ``dtype``.

    Raises:
        ValueError: 2 to 16 frames, where the reference's ratio is 0 and its first step not a number.
    """
    if 1 < frames < FRAMES or frames < 1:
        raise ValueError(
            f"{frames} frames: the schedule knows 1 frame, or {FRAMES} and more. Ask for at least {FRAMES}."
        )
    rows, columns, count = (torch.tensor(float(n), dtype=dtype) for n in (height, width, frames))
    time = torch.ones_like(count) if frames == 1 else count // FRAMES * 5
    return float((rows * columns / SIDE**2).sqrt() * time.sqrt())


def timesteps(steps: int, ratio: float) -> Float[Tensor, " steps"]:
    """Levels in 0..1000 from noise towards clean: u' = r u / (1 + (r - 1) u). The last step goes on to 0."""
    u = 1 - torch.arange(steps, dtype=torch.float32) / steps
    return 1000 * ratio * u / (1 + (ratio - 1) * u)


def sample(
    velocity: Callable[[Streams[Tensor], Tensor], Streams[Tensor]], z: Streams[Tensor], levels: Float[Tensor, " steps"]
) -> Streams[Tensor]:
    """Euler steps along ``velocity(z, level)``, which points from noise to clean."""
    following = torch.cat([levels[1:], levels.new_zeros(1)])
    for level, after in zip(levels, following, strict=True):
        step = (level - after) / 1000
        z = z.map(lambda a, v, step=step: a + v.float() * step, velocity(z, level))
    return z
