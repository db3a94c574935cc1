"""From prompts and timelines to plans for a whole request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from .models.planner.planner import VAPlanner
from .plan import Event, PlanStreams, PlanTokens, Timeline
from .world import Scene


def read_timeline(path: Path) -> Timeline:
    """A timeline from a file: JSON if it begins as a list, else its text form.

    Raises:
        ValueError: not text, or a line or entry that is no event.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8: {error}.") from error
    try:
        return Timeline.from_json(text) if text.lstrip().startswith("[") else Timeline.read(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def timeline_of(scene: Scene) -> Timeline:
    """What happens in a scene of the world: the oracle's timeline."""
    return Timeline.of(
        Event(time, subject.kind, subject.place, subject.heard, subject.seen)
        for subject in scene.subjects
        for time in subject.times
    )


def plan_request(
    planner: VAPlanner, prompts: Sequence[str], audio: Sequence[str] | None, timeline: Timeline | None
) -> PlanStreams:
    """Planned tokens for each of ``prompts``, all with one timeline."""
    return joined([planner.plan(p, audio[i] if audio else "", timeline).streams for i, p in enumerate(prompts)])


def joined(plans: Sequence[PlanStreams]) -> PlanStreams:
    """The plans of some samples as one, where all have one grid."""
    return plans[0].map(
        lambda first, *others: PlanTokens(torch.cat([p.tokens for p in (first, *others)]), first.places), *plans[1:]
    )
