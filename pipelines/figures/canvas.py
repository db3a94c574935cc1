"""Shared by all figures: colours, conversion to an image tensor, and PNG files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from ..core.files import atomic_output

DPI = 100
SEEN, HEARD = "#1f6fd6", "#d6401f"  # colours of video and audio
STRIP_FRAMES = 8  # frames in a filmstrip


def pixels(figure: Figure) -> Float[Tensor, "height width 3"]:
    """The figure as an image in 0..1."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return drawn.view(height, width, 4)[..., :3].float() / 255


def write_png(path: Path, figure: Figure, *, metadata: dict[str, Any] | None = None) -> None:
    """Save a figure atomically, with each entry of ``metadata`` as JSON."""
    with atomic_output(path) as temporary:
        text = {key: json.dumps(value) for key, value in (metadata or {}).items()}
        figure.savefig(temporary, dpi=120, format="png", metadata=text)
