"""A figure of the offset between audio and video over time."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..sync.measure import Measured
from .canvas import HEARD


def draw_curve(measured: Measured) -> Figure:
    """Offset over time: a dot for each window with evidence, a line for the whole clip."""
    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(str(measured.agreement), fontsize=10)
    found = [(t, 1000 * a.offset, a.strength) for t, a in measured.seconds if a.offset is not None]
    without = [t for t, a in measured.seconds if a.offset is None]
    if found:
        t, offset, strength = zip(*found, strict=True)
        axes.scatter(t, offset, s=[30 + 120 * x for x in strength], color=HEARD, label="offset (size: strength)")
    axes.plot(without, [0] * len(without), linestyle="", marker="x", color="#999", label="no evidence")
    if measured.agreement.offset is not None:
        axes.axhline(1000 * measured.agreement.offset, color=HEARD, linewidth=1, alpha=0.6)
    axes.axhline(0, color="#333", linewidth=0.8)
    axes.set(xlabel="seconds", ylabel="audio delay, ms", xlim=(0, max(measured.video_seconds, 0.1)), ylim=(-650, 650))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper right")
    return figure
