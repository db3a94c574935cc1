"""The loss of a training run as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from .canvas import SEEN

MEMORY = 0.98  # of the moving average that is drawn over the single steps


def draw_loss(losses: Sequence[float], *, last: int, title: str) -> Figure:
    """The losses of the steps up to number ``last``, and their moving average."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    steps = range(last - len(losses) + 1, last + 1)
    axes.plot(steps, losses, color=SEEN, alpha=0.25, linewidth=0.8)
    axes.plot(steps, _averaged(losses), color=SEEN, linewidth=1.8)
    axes.set(xlabel="step", ylabel="loss", title=title)
    axes.grid(alpha=0.3)
    return figure


def _averaged(losses: Sequence[float]) -> list[float]:
    """Exponential moving average, corrected for its start."""
    total = weight = 0.0
    out = []
    for loss in losses:
        total, weight = MEMORY * total + loss, MEMORY * weight + 1
        out.append(total / weight)
    return out
