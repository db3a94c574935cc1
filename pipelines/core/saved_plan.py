"""Saved plans and timelines: reading and writing their files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .documents import parse_json, read_text
from .timed_events import TimedEvents, event_words
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
        found = parse_json(text, "Not a saved plan")
        missing = [
            name for name in ("video", "audio", "timeline", "seed") if not isinstance(found, dict) or name not in found
        ]
        if missing:
            raise ValueError(
                f"Not a saved plan: it has no entry {missing[0]!r}. Use a file written by 'Duet Save Plan'."
            )
        video, audio, seed = found["video"], found["audio"], found["seed"]
        if not (isinstance(video, str) and isinstance(audio, str) and type(seed) is int and 0 <= seed < 2**64):
            raise ValueError(
                "Not a saved plan: 'video' and 'audio' must be strings and 'seed' an integer from 0 to 2^64 - 1."
            )
        events = found["timeline"]
        return cls(video, audio, None if events is None else Timeline.from_values(events), seed)


def read_timeline(path: Path) -> Timeline:
    """A timeline from a file: a saved plan (a JSON object), a JSON list of events, or text with one event per line.

    Raises:
        ValueError: not a text file, an invalid event, or a plan without a timeline.
    """
    text = read_text(path)
    try:
        if text.lstrip().startswith("{"):
            timeline = SavedPlan.from_json(text).timeline
            if timeline is None:
                raise ValueError("This plan has no timeline because it was planned in the paper's mode.")
            return timeline
        return Timeline.from_json(text) if text.lstrip().startswith("[") else Timeline.read(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_timed_events(path: Path) -> TimedEvents:
    """Timed events from a file: text with one event per line, or a saved plan or JSON list, whose events are named in words.

    Raises:
        ValueError: not a text file, or invalid events.
    """
    text = read_text(path)
    timeline = read_timeline(path) if text.lstrip().startswith(("{", "[")) else None
    try:
        return TimedEvents.read(text) if timeline is None else TimedEvents.of_timeline(timeline, event_words)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_plan(path: Path) -> SavedPlan:
    """The saved plan in the file ``path``.

    Raises:
        ValueError: not a saved plan.
    """
    try:
        return SavedPlan.from_json(read_text(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
