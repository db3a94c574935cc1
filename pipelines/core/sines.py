"""Sine features: the form in which networks read places, positions and noise levels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def sine_features(
    values: Float[Tensor, "*n a"], frequencies: Float[Tensor, " f"], *, cosine_first: bool = False
) -> Float[Tensor, "*n features"]:
    """[sin, cos] of each of the last axis' ``a`` values times each angular frequency, 2 a f features; ``cosine_first``: [cos, sin].

    Networks differ in their frequencies and in this order, so that both are arguments.
    """
    angles = (values[..., None] * frequencies).flatten(-2)
    parts = (angles.cos(), angles.sin()) if cosine_first else (angles.sin(), angles.cos())
    return torch.cat(parts, dim=-1)
