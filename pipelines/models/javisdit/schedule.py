"""How far both versions shift the rectified-flow schedule (Open-Sora's rule, arXiv 2412.20404), as their inference does.

With this shift ``sampling.flow_sigmas`` gives the official timesteps divided by 1000, and ``sampling.euler`` the sampler.
"""

from __future__ import annotations

import torch

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
