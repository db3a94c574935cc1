"""Rotary position embedding over several axes.

Letters: b batch, h heads, l tokens, d head width (even), a axes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

RotaryTable = Float[Tensor, "2 _ half"]  # cosines, then sines


def rotary_table(positions: Float[Tensor, "l a"], *, head_dim: int, base: float = 100.0) -> RotaryTable:
    """Angles position * base^(-i/n) for the n pairs of each axis, as cosines and sines: [2, l, head_dim / 2].

    The pairs are shared out evenly, the first axis (time) taking what is left over: half of them with three axes.
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
    """Turn the pair (x_i, x_{i + d/2}) by the table's angle: four products, no complex numbers."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = table.to(x.dtype)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def rotate_reference(x: Float[Tensor, "b h l d"], table: RotaryTable) -> Float[Tensor, "b h l d"]:
    """The same as a product of complex numbers: (x_i + j x_{i + d/2}) e^{j angle}."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.complex(first, second) * torch.complex(*table)
    return torch.cat([turned.real, turned.imag], dim=-1).to(x.dtype)
