"""Timelines: what happens when and where, seen or heard, as values, as text and as words for a prompt."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

MARKS = {(True, True): "", (False, True): "silent", (True, False): "unseen"}  # (heard, seen) -> word behind an event


@dataclass(frozen=True, order=True)
class Event:
    """One thing that happens: when (seconds), what, where, and whether it is heard and seen.

    Raises:
        ValueError: a time or place that cannot be, or neither heard nor seen.
    """

    when: float
    what: str
    where: str
    heard: bool = True
    seen: bool = True

    def __post_init__(self) -> None:
        if not (isinstance(self.when, float | int) and 0 <= self.when < float("inf")):
            raise ValueError(f"An event is at {self.when!r}; times are seconds from 0.")
        if not (isinstance(self.what, str) and self.what.strip() and len(self.what.split()) == 1):
            raise ValueError(f"An event is of {self.what!r}; it must be one word, e.g. 'bell'.")
        if self.where not in PLACES:
            raise ValueError(f"An event is at the {self.where!r}; it must be {', '.join(PLACES)}.")
        if (self.heard, self.seen) not in MARKS:
            raise ValueError(f"The {self.what} at {self.when:g} s is neither heard nor seen. Remove it.")

    def __str__(self) -> str:
        return " ".join(
            part for part in (f"{self.when:.2f}", self.what, self.where, MARKS[self.heard, self.seen]) if part
        )


@dataclass(frozen=True)
class Timeline:
    """Events in order. Its text has a line for each: ``0.35 bell left``, with ``silent`` or ``unseen`` behind it."""

    events: tuple[Event, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.events))

    @classmethod
    def of(cls, events: Any) -> Timeline:
        return cls(tuple(sorted(events)))

    @classmethod
    def read(cls, text: str) -> Timeline:
        """A timeline from its text.

        Raises:
            ValueError: a line that is no event, with its number and what is expected.
        """
        words = {word: flags for flags, word in MARKS.items()}
        events = []
        for number, line in enumerate(text.splitlines(), 1):
            parts = line.split("#")[0].split()
            if not parts:
                continue
            try:
                when, what, where, *mark = parts
                heard, seen = words[mark[0] if mark else ""]
                if len(mark) > 1:
                    raise ValueError(f"{mark[1]!r} is too much.")
                events.append(Event(float(when), what, where, heard, seen))
            except (ValueError, KeyError) as error:
                raise ValueError(
                    f"Line {number} of the timeline, {line.strip()!r}: {error} Expected: seconds, what, where, and perhaps "
                    "'silent' or 'unseen', e.g. '0.35 bell left'."
                ) from error
        return cls.of(events)

    def to_json(self) -> str:
        """The events as a JSON list."""
        return json.dumps([asdict(event) for event in self.events])

    @classmethod
    def from_json(cls, text: str) -> Timeline:
        """A timeline from ``to_json``'s form.

        Raises:
            ValueError: not JSON, or entries that are no events.
        """
        try:
            return cls.of(Event(**entry) for entry in json.loads(text))
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"The timeline is no list of events ({error}).") from error


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


PLACES = ("left", "middle", "right")

WHERE = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
