"""The suites of ``duet bench``: which variants over which prompts. Settings are chosen on the development list alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from ..bench import Run
from ..tables import Table, plot
from .codecs import codecs
from .core import core
from .guidance import draw_trade_off, guidance


@dataclass(frozen=True)
class Suite:
    """What is measured, and the picture of it."""

    measure: Callable[[Run], Table]
    draw: Callable[[Table], Figure]


SUITES = {
    "core": Suite(core, partial(plot, metric="sync_normalised")),
    "codecs": Suite(codecs, partial(plot, metric="event_f1")),
    "guidance": Suite(guidance, draw_trade_off),
}
