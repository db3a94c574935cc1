"""Rotary position embedding over several axes.

Letters: b batch, h heads, l tokens, d head width (even), a axes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

RotaryTable = Float[Tensor, "2 _ half"]  # cosines, then sines, of each token


def rotary_table(positions: Float[Tensor, "l a"], *, head_dim: int, base: float = 100.0) -> RotaryTable:
    """Angles position * base^(-i/n) for the n pairs of each axis, as cosines and sines: [2, l, head_dim / 2].

    With one axis it has all pairs. With several, each axis after the first has an equal share and the first axis (time) the rest: with
    three axes, time has half of the pairs.
    """
    half, axes = head_dim // 2, positions.shape[1]
    each = half // (axes + 1) if axes > 1 else half
    counts = [half - each * (axes - 1)] + [each] * (axes - 1)
    angles = [
        positions[:, i, None] * base ** (-torch.arange(n, device=positions.device) / n) for i, n in enumerate(counts)
    ]
    angle = torch.cat(angles, dim=-1)
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Float[Tensor, "b h l d"], table: RotaryTable) -> Float[Tensor, "b h l d"]:
    """Rotate each pair (x_i, x_{i + d/2}) by the table's angle, without complex numbers."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = table.to(x.dtype)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def rotate_reference(x: Float[Tensor, "b h l d"], table: RotaryTable) -> Float[Tensor, "b h l d"]:
    """The same rotation as a product of complex numbers: (x_i + j x_{i + d/2}) e^{j angle}."""
    first, second = x.float().chunk(2, dim=-1)
    rotated = torch.complex(first, second) * torch.complex(*table)
    return torch.cat([rotated.real, rotated.imag], dim=-1).to(x.dtype)
