"""The suites of ``duet bench``: which variants are measured on which prompts. Settings are only chosen on the development list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from ...models.choose import MODELS, POCKET, POCKET_LTX2
from ..runner import Run
from ..tables import Table, plot
from . import (
    adapter,
    codecs,
    core,
    few_steps,
    guidance,
    identifiability,
    meter,
    meter_validation,
    modality,
    people,
    plan,
    prior,
    timed,
)


@dataclass(frozen=True)
class Suite:
    """The measurement, its plot, the models that it can measure, and whether it consists of independent pieces."""

    measure: Callable[[Run], Table]
    draw: Callable[[Table], Figure]
    models: tuple[str, ...] = (POCKET,)
    pieces: bool = True

    def require(self, name: str, model: str) -> Suite:
        """The suite itself.

        Raises:
            ValueError: it cannot measure ``model``.
        """
        if model not in self.models:
            others = ", ".join(key for key, suite in SUITES.items() if model in suite.models)
            raise ValueError(
                f"--model is {model}; the suite '{name}' measures {' and '.join(self.models)} only. Leave --model out, or choose "
                f"one of {others}."
            )
        return self

    def require_pieces(self, name: str) -> None:
        """Check that a cluster can compute the suite.

        Raises:
            ValueError: it runs in one process.
        """
        if not self.pieces:
            others = ", ".join(key for key, suite in SUITES.items() if suite.pieces)
            raise ValueError(
                f"The suite '{name}' runs in one process. Leave --cluster and --resume out, or choose one of {others}."
            )


SUITES = {
    "core": Suite(core.measure, partial(plot, metric="sync_normalised"), MODELS),
    "codecs": Suite(codecs.measure, partial(plot, metric="event_f1"), pieces=False),
    "guidance": Suite(guidance.measure, guidance.draw, MODELS),
    "modality": Suite(modality.measure, modality.draw, MODELS),
    "few-steps": Suite(few_steps.measure, few_steps.draw),
    "plan": Suite(plan.measure, partial(plot, metric="plan_realised"), (POCKET, POCKET_LTX2)),
    "prior": Suite(prior.measure, partial(plot, metric="sync_normalised")),
    "adapter": Suite(adapter.measure, partial(plot, metric="sync_normalised")),
    "adapter-identifiability": Suite(identifiability.measure, identifiability.draw, pieces=False),
    "meter": Suite(meter.measure, meter.draw, pieces=False),
    "meter-validation": Suite(meter_validation.measure, meter_validation.draw, pieces=False),
    "people": Suite(people.measure, partial(plot, metric="kinds_right"), pieces=False),
    "timed": Suite(timed.measure, partial(plot, metric="hit_asked"), (POCKET, POCKET_LTX2), pieces=False),
}
