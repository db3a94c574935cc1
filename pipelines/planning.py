"""From prompts and timelines to plans for a whole request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from .models.planner.planner import VAPlanner
from .plan import Event, PlacedTokens, PlanStreams, Timeline, ToldPlan
from .world import Scene
from .world.caption import WHERE


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8: {error}.") from error


def read_timeline(path: Path) -> Timeline:
    """A timeline from a file: a saved plan if it begins as an object, JSON events if it begins as a list, else its text form.

    Raises:
        ValueError: not text, a line or entry that is no event, or a plan without a timeline.
    """
    text = _text(path)
    try:
        if text.lstrip().startswith("{"):
            timeline = ToldPlan.from_json(text).timeline
            if timeline is None:
                raise ValueError("This plan was made in the paper's mode, without a timeline.")
            return timeline
        return Timeline.from_json(text) if text.lstrip().startswith("[") else Timeline.read(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_plan(path: Path) -> ToldPlan:
    """A saved plan.

    Raises:
        ValueError: not one.
    """
    try:
        return ToldPlan.from_json(_text(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


STYLES = ("prose", "beats")  # one flowing paragraph, as LTX-2 asks for; a timed line for each event


def as_prompt(text: str, timeline: Timeline, style: str) -> str:
    """The prompt with the timeline in words, for a model that reads no plan. It is a wish like any other words: such a model does
    not place events by it as plan layers do.

    Raises:
        ValueError: an unknown style.
    """
    if style not in STYLES:
        raise ValueError(f"The style is {style!r}; it must be {' or '.join(STYLES)}.")
    told = []
    for k, event in enumerate(timeline.events):
        how = {(True, True): "is seen and heard", (False, True): "is seen and makes no sound"}.get(
            (event.heard, event.seen), "is heard from off screen"
        )
        what = f"the {event.what} {WHERE[event.where]} {how}"
        when = f"{event.when:.1f} seconds"
        told.append(
            f"{'then' if k else 'first'}, at {when}, {what}" if style == "prose" else f"[{event.when:.2f}s] {what}"
        )
    text = text.strip().rstrip(".")
    if style == "beats":
        return "\n".join([f"{text}.", *told])
    return ". ".join(part[:1].upper() + part[1:] for part in (text, *told)) + "."


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
        lambda first, *others: PlacedTokens(torch.cat([p.tokens for p in (first, *others)]), first.places), *plans[1:]
    )
