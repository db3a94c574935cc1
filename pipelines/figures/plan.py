"""A figure of a plan's timeline."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..core.timeline import PLACES, Timeline
from .canvas import HEARD, SEEN


def draw_plan(timeline: Timeline, *, seconds: float, title: str) -> Figure:
    """A timeline in two lanes, seen and heard events, each by place."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    seen, heard = figure.subplots(2, 1, sharex=True)
    figure.suptitle(title, fontsize=10)
    for event in timeline.events:
        level = 2 - PLACES.index(event.where)
        for axes, shown, colour, marker in ((seen, event.seen, SEEN, "v"), (heard, event.heard, HEARD, "^")):
            if shown:
                axes.plot([event.when], [level], marker=marker, color=colour, markersize=10)
                axes.annotate(event.what, (event.when, level), textcoords="offset points", xytext=(7, -3), fontsize=8)
    for axes, name in ((seen, "seen"), (heard, "heard")):
        axes.set(ylim=(-0.6, 2.6), yticks=range(3), yticklabels=PLACES[::-1], ylabel=name, xlim=(0, seconds))
        axes.grid(alpha=0.3)
    heard.set_xlabel("seconds")
    return figure
