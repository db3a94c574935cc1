"""The resolution-dependent shift of the rectified-flow schedule (Open-Sora's rule, arXiv 2412.20404), as in both versions' inference.

With this shift, 1000 times ``sampling.flow_sigmas`` are the official timesteps, and ``sampling.euler`` is the official sampler.
"""

from __future__ import annotations

import torch

SIDE = 512
FRAMES = 17  # pixel frames in one group of the rule


def shift_ratio(height: int, width: int, frames: int, *, dtype: torch.dtype = torch.bfloat16) -> float:
    """The shift towards noise for a clip of ``height`` x ``width`` pixels and ``frames`` pixel frames.

    The configuration of v1.0 states a scale of 5, but its sampler never passes it on, so that none is applied here. The reference
    computes in its network's ``dtype``.

    Raises:
        ValueError: for 2 to 16 frames, where the reference's ratio is 0 and its first step is not a number.
    """
    if 1 < frames < FRAMES or frames < 1:
        raise ValueError(
            f"The clip has {frames} frames; the schedule is defined for 1 frame or at least {FRAMES}. Use at least {FRAMES}."
        )
    rows, columns, count = (torch.tensor(float(n), dtype=dtype) for n in (height, width, frames))
    time = torch.ones_like(count) if frames == 1 else count // FRAMES * 5
    return float((rows * columns / SIDE**2).sqrt() * time.sqrt())
