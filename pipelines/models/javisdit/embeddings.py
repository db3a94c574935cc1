"""Embeddings of patches, conditioning tokens and positions in JavisDiT v0.1. Attribute names are the official checkpoint keys.

Letters: b batch, n positions, c channels.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...core.sines import sine_features
from .layers import Mlp


class CaptionEmbedding(nn.Module):
    """Two layers over conditioning tokens, and the learned embedding of an absent condition."""

    y_embedding: Tensor

    def __init__(self, inside: int, dim: int, tokens: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.y_proj = Mlp(inside, dim, dim, operations=operations, **factory)
        self.register_buffer("y_embedding", torch.empty(tokens, inside, **factory))


class PatchEmbedding(nn.Module):
    """A convolution whose stride equals its kernel size."""

    def __init__(
        self, convolution: type[nn.Module], inside: int, dim: int, patch: tuple[int, ...], **factory: Any
    ) -> None:
        super().__init__()
        self.proj = convolution(inside, dim, patch, stride=patch, **factory)


class RotaryFrequencies(nn.Module):
    """Rotary frequencies of the time axis; the official files store them as a frozen parameter."""

    def __init__(self, width: int, **factory: Any) -> None:
        super().__init__()
        frequencies = 10000 ** (-torch.arange(0, width, 2, **factory) / width)
        self.freqs = nn.Parameter(frequencies, requires_grad=False)


INPUT_SIDE = 512  # pixels: side of the square for which patch positions are unscaled


def frame_positions(rows: int, columns: int, sides: Float[Tensor, " two"], width: int) -> Float[Tensor, "n width"]:
    """Embeddings of the patches of a frame, row by row, in float32: columns in the first half of the channels, rows in the second.
    ``sides``: the frame's height and width in pixels, which scale the coordinates."""
    scale, base = sides.prod().sqrt() / INPUT_SIDE, round((rows * columns) ** 0.5)
    down, across = (
        sincos_1d(torch.arange(n, device=sides.device, dtype=torch.float32) / scale * base / n, width // 2)
        for n in (rows, columns)
    )
    grid = [across[None].expand(rows, -1, -1), down[:, None].expand(-1, columns, -1)]
    return torch.cat(grid, dim=-1).flatten(0, 1)


def sincos_1d(coordinates: Float[Tensor, " n"], width: int) -> Float[Tensor, "n width"]:
    """[sin, cos] of ``coordinates`` at the frequencies 10000^(-2k / width), k < width / 2, computed as a power in float32."""
    frequencies = 10000 ** (-torch.arange(0, width, 2, device=coordinates.device, dtype=torch.float32) / width)
    return sine_features(coordinates[:, None], frequencies)
