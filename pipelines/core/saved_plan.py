"""Saved plans and timelines: reading and writing their files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .timeline import Timeline


@dataclass(frozen=True)
class SavedPlan:
    """A plan without its tokens. A planner regenerates the tokens from the prompts, the timeline and the seed."""

    video: str
    audio: str
    timeline: Timeline | None
    seed: int

    def to_json(self) -> str:
        """The plan as JSON text."""
        events = None if self.timeline is None else json.loads(self.timeline.to_json())
        return json.dumps({**vars(self), "timeline": events}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> SavedPlan:
        """A plan from the text that ``to_json`` writes.

        Raises:
            ValueError: invalid JSON, or missing or wrong entries.
        """
        try:
            found = json.loads(text)
            events = found["timeline"]
            timeline = None if events is None else Timeline.from_json(json.dumps(events))
            plan = cls(found["video"], found["audio"], timeline, found["seed"])
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"Not a saved plan ({type(error).__name__}: {error}). Use a file written by 'Duet Save Plan'."
            ) from error
        if not (isinstance(plan.video, str) and isinstance(plan.audio, str) and type(plan.seed) is int):
            raise ValueError("Not a saved plan: 'video' and 'audio' must be strings and 'seed' an integer.")
        return plan


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8: {error}.") from error


def read_timeline(path: Path) -> Timeline:
    """A timeline from a file: a saved plan (a JSON object), a JSON list of events, or text with one event per line.

    Raises:
        ValueError: not a text file, an invalid event, or a plan without a timeline.
    """
    text = _text(path)
    try:
        if text.lstrip().startswith("{"):
            timeline = SavedPlan.from_json(text).timeline
            if timeline is None:
                raise ValueError("This plan has no timeline because it was planned in the paper's mode.")
            return timeline
        return Timeline.from_json(text) if text.lstrip().startswith("[") else Timeline.read(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_plan(path: Path) -> SavedPlan:
    """The saved plan in the file ``path``.

    Raises:
        ValueError: not a saved plan.
    """
    try:
        return SavedPlan.from_json(_text(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
