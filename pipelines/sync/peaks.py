"""Local maxima of a trace, and their position between samples."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def local_maxima(trace: Float[Tensor, " n"], *, reach: int) -> Bool[Tensor, " n"]:
    """True where a sample is the highest of its neighbourhood of ``reach`` samples on either side."""
    return trace >= F.max_pool1d(trace[None], 2 * reach + 1, 1, reach)[0]


def parabola_peak(before: float, here: float, after: float) -> float:
    """Position of the peak relative to the middle of three neighbouring samples, in samples: the vertex of the parabola through them."""
    bend = before - 2 * here + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
