"""A visible text label in the corner of the video, e.g. to show that a clip was generated."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SHARE = 0.055  # height of the letters as a share of the frame height
LEAST_PIXELS = 8
OPACITY = 0.75


def add_label(frames: Float[Tensor, "t h w 3"], text: str) -> Float[Tensor, "t h w 3"]:
    """``frames`` with ``text`` at the lower right, white on a dark band; unchanged if ``text`` is empty.

    Raises:
        ValueError: the frame is too small for the text.
    """
    if not text:
        return frames
    height, width = frames.shape[1:3]
    font = ImageFont.load_default(max(LEAST_PIXELS, round(SHARE * height)))
    left, top, right, bottom = font.getbbox(text)
    margin = max(1, round(bottom - top) // 3)
    wide, high = round(right - left) + 2 * margin, round(bottom - top) + 2 * margin
    if wide > width or high > height:
        raise ValueError(
            f"The label {text!r} needs {wide} x {high} pixels, but the frame has {width} x {height}. Use larger frames or a shorter label."
        )
    band = Image.new("L", (wide, high), 0)
    ImageDraw.Draw(band).text((margin - left, margin - top), text, fill=255, font=font)
    letters = torch.from_numpy(np.array(band)).to(frames) / 255
    out = frames.clone()
    corner = out[:, height - high :, width - wide :]
    corner.lerp_(letters[None, :, :, None].expand_as(corner), OPACITY)
    return out
