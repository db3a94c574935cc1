"""Enlarging of small clips for watching."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WATCHABLE = 512  # target size of the shorter side in pixels


def enlarge(frames: Float[Tensor, "t h w 3"], factor: int) -> Float[Tensor, "t height width 3"]:
    """Frames in 0..1 enlarged by an integer factor with a bicubic filter."""
    if factor == 1:
        return frames
    pictures = F.interpolate(frames.permute(0, 3, 1, 2), scale_factor=factor, mode="bicubic", align_corners=False)
    return pictures.permute(0, 2, 3, 1).clamp(0, 1)


def watchable_factor(height: int, width: int) -> int:
    """The factor by which a clip of this size is enlarged when it is written: 1 from 512 pixels on the shorter side."""
    return max(1, WATCHABLE // min(height, width))
