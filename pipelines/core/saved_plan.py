"""A plan as it is saved: prompts, timeline and seed, from which a planner makes its tokens again; and how files of it are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .timeline import Timeline


@dataclass(frozen=True)
class SavedPlan:
    """A plan as it is kept: without its tokens, which a planner makes again from the rest."""

    video: str
    audio: str
    timeline: Timeline | None
    seed: int

    def to_json(self) -> str:
        events = None if self.timeline is None else json.loads(self.timeline.to_json())
        return json.dumps({**vars(self), "timeline": events}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> SavedPlan:
        """A plan from ``to_json``'s form.

        Raises:
            ValueError: not JSON, or not a plan's parts.
        """
        try:
            found = json.loads(text)
            events = found["timeline"]
            timeline = None if events is None else Timeline.from_json(json.dumps(events))
            plan = cls(found["video"], found["audio"], timeline, found["seed"])
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"It is no plan: {type(error).__name__}: {error}. 'Duet Save Plan' writes one.") from error
        if not (isinstance(plan.video, str) and isinstance(plan.audio, str) and type(plan.seed) is int):
            raise ValueError("It is no plan: 'video' and 'audio' must be texts and 'seed' a whole number.")
        return plan


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
            timeline = SavedPlan.from_json(text).timeline
            if timeline is None:
                raise ValueError("This plan was made in the paper's mode, without a timeline.")
            return timeline
        return Timeline.from_json(text) if text.lstrip().startswith("[") else Timeline.read(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_plan(path: Path) -> SavedPlan:
    """A saved plan.

    Raises:
        ValueError: not one.
    """
    try:
        return SavedPlan.from_json(_text(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
