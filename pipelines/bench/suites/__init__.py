"""The suites of ``duet bench``: which variants are measured on which prompts. Settings are only chosen on the development list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from ..runner import Run
from ..tables import Table, plot
from . import adapter, codecs, core, few_steps, guidance, identifiability, meter, people, plan, prior


@dataclass(frozen=True)
class Suite:
    """The measurement and its plot."""

    measure: Callable[[Run], Table]
    draw: Callable[[Table], Figure]


SUITES = {
    "core": Suite(core.measure, partial(plot, metric="sync_normalised")),
    "codecs": Suite(codecs.measure, partial(plot, metric="event_f1")),
    "guidance": Suite(guidance.measure, guidance.draw),
    "few-steps": Suite(few_steps.measure, few_steps.draw),
    "plan": Suite(plan.measure, partial(plot, metric="plan_realised")),
    "prior": Suite(prior.measure, partial(plot, metric="sync_normalised")),
    "adapter": Suite(adapter.measure, partial(plot, metric="sync_normalised")),
    "adapter-identifiability": Suite(identifiability.measure, identifiability.draw),
    "meter": Suite(meter.measure, meter.draw),
    "people": Suite(people.measure, partial(plot, metric="kinds_right")),
}
