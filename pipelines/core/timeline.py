"""Timelines: events with time, place and stream, as values, as text and as words for a prompt."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from .documents import parse_json
from .schema import checked

PLACES = ("left", "middle", "right")
WHERE = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
STYLES = ("prose", "beats")  # one paragraph, as LTX-2 expects; one line with a time for each event
MARKS = {(True, True): "", (False, True): "silent", (True, False): "unseen"}  # (heard, seen) -> word after an event
EXPECTED = "Expected: seconds, what, where, and optionally 'silent' or 'unseen', e.g. '0.35 bell left'."
# web/editor/grammar.js reads the same text in the browser; tests/timeline_cases.json holds the two together.
_LINE_END = re.compile(r"\r\n|\n|\r")
_WORD = re.compile(r"[^\s\ufeff]+")
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
MAX_EVENTS = 10_000  # of a timeline
_LONGEST = 40  # characters of a word or line that a message repeats


@dataclass(frozen=True, order=True)
class Event:
    """One thing that happens: when (seconds), what, where, and whether it is heard and seen.

    Raises:
        ValueError: an invalid time, name or place, or an event that is neither heard nor seen.
    """

    when: float
    what: str
    where: str
    heard: bool = True
    seen: bool = True

    def __post_init__(self) -> None:
        # A float is at most 1.8e308; longer integers can be neither compared with the times of sounds nor printed.
        if type(self.when) not in (float, int) or not 0 <= self.when <= sys.float_info.max:
            raise ValueError(f"The time of an event is {_shown(self.when)}; it must be a number of seconds, 0 or more.")
        if not (isinstance(self.what, str) and self.what.strip() and len(self.what.split()) == 1):
            raise ValueError(f"The name of an event is {_shown(self.what)}; it must be one word, e.g. 'bell'.")
        if self.where not in PLACES:
            raise ValueError(f"The place of an event is {_shown(self.where)}; it must be one of {', '.join(PLACES)}.")
        if not (isinstance(self.heard, bool) and isinstance(self.seen, bool)):
            raise ValueError(f"'heard' and 'seen' of the {self.what} at {self.when:g} s must be true or false.")
        if (self.heard, self.seen) not in MARKS:
            raise ValueError(f"The {self.what} at {self.when:g} s is neither heard nor seen. Remove it.")

    def __str__(self) -> str:
        return " ".join(
            part for part in (f"{self.when:.2f}", self.what, self.where, MARKS[self.heard, self.seen]) if part
        )


@dataclass(frozen=True)
class Timeline:
    """Events in order of time. As text, one line per event: ``0.35 bell left``, optionally followed by ``silent`` or ``unseen``."""

    events: tuple[Event, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.events))

    @classmethod
    def of(cls, events: Any) -> Timeline:
        """A timeline of ``events``, sorted by time.

        Raises:
            ValueError: more than ``MAX_EVENTS`` events.
        """
        found = tuple(islice(events, MAX_EVENTS + 1))
        if len(found) > MAX_EVENTS:
            raise ValueError(f"The timeline has more than {MAX_EVENTS} events. Remove some.")
        return cls(tuple(sorted(found)))

    @classmethod
    def read(cls, text: str) -> Timeline:
        """A timeline from its text.

        Raises:
            ValueError: a line that is not an event; the message has its number and the expected form.
        """
        return cls.of(_read_lines(text))

    def within(self, begin: float, end: float, *, period: float = 0.0) -> Timeline:
        """The events from ``begin`` to ``end`` seconds, in seconds from ``begin``; in a loop of ``period`` seconds they repeat."""
        laps = (-period, 0.0, period) if period else (0.0,)
        times = ((event, event.when + lap) for event in self.events for lap in laps)
        return Timeline.of(replace(event, when=t - begin) for event, t in times if begin <= t < end)

    def to_json(self) -> str:
        """The events as a JSON list."""
        return json.dumps([asdict(event) for event in self.events])

    @classmethod
    def from_json(cls, text: str) -> Timeline:
        """A timeline from the text that ``to_json`` writes.

        Raises:
            ValueError: invalid JSON, or an entry that is not an event.
        """
        return cls.from_values(parse_json(text, "The timeline"))

    @classmethod
    def from_values(cls, entries: object) -> Timeline:
        """A timeline from the parsed text that ``to_json`` writes.

        Raises:
            ValueError: not a list, or an entry that is not an event.
        """
        if not isinstance(entries, list):
            raise ValueError("The timeline is not a JSON list of events.")
        return cls.of(checked(Event, entry, source=f"Event {k} of the timeline") for k, entry in enumerate(entries, 1))


def _read_lines(text: str) -> Iterator[Event]:
    """The events of a text, line by line."""
    for number, line in enumerate(_LINE_END.split(text), 1):
        try:
            event = read_line(line)
        except ValueError as error:
            shown = " ".join(_WORD.findall(line))
            message = f"Line {number} of the timeline, {quoted(shown)}: {error} {EXPECTED}"
            raise ValueError(message) from error
        if event is not None:
            yield event


def read_line(line: str) -> Event | None:
    """The event of one line; None if there is nothing before a ``#``.

    Raises:
        ValueError: a line that is not an event.
    """
    parts = _WORD.findall(line.split("#")[0])
    if not parts:
        return None
    if len(parts) < 3:
        raise ValueError(f"{quoted(parts[-1])} is the last word, but three are needed.")
    when, what, where, *marks = parts
    if not (NUMBER.fullmatch(when) and 0 <= float(when) < float("inf")):
        raise ValueError(f"The time of an event is {quoted(when)}; it must be a number of seconds, 0 or more.")
    if where not in PLACES:
        raise ValueError(f"The place of an event is {quoted(where)}; it must be one of {', '.join(PLACES)}.")
    words = {word: flags for flags, word in MARKS.items()}
    mark = marks[0] if marks else ""
    if mark not in words:
        raise ValueError(f"After the place there may be 'silent' or 'unseen', not {quoted(mark)}.")
    if len(marks) > 1:
        raise ValueError(f"{quoted(marks[1])} is one word too many.")
    return Event(float(when), what, where, *words[mark])


def _shown(value: object) -> str:
    """A wrong value from JSON as an error quotes it; the text of a long integer is not even computed."""
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return f"an integer of more than {_LONGEST} digits"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def quoted(text: str) -> str:
    """``text`` in quotes, cut if it is long, as errors repeat it."""
    return f"'{text}'" if len(text) <= _LONGEST else f"'{text[:_LONGEST]}...'"


def quoted_line(line: str) -> str:
    """The words of ``line`` in quotes."""
    return quoted(" ".join(_WORD.findall(line)))


def as_prompt(text: str, timeline: Timeline, style: str) -> str:
    """The prompt followed by the timeline in words, for a model without plan layers. Such a model treats the times as part of the prompt
    and does not place events as exactly as plan layers do.

    Raises:
        ValueError: an unknown style.
    """
    if style not in STYLES:
        raise ValueError(f"The style is {style!r}; it must be {' or '.join(STYLES)}.")
    lines = []
    for k, event in enumerate(timeline.events):
        how = {(True, True): "is seen and heard", (False, True): "is seen and makes no sound"}.get(
            (event.heard, event.seen), "is heard from off screen"
        )
        what = f"the {event.what} {WHERE[event.where]} {how}"
        when = f"{event.when:.1f} seconds"
        lines.append(
            f"{'then' if k else 'first'}, at {when}, {what}" if style == "prose" else f"[{event.when:.2f}s] {what}"
        )
    text = text.strip().rstrip(".")
    if style == "beats":
        return "\n".join([f"{text}.", *lines])
    return ". ".join(part[:1].upper() + part[1:] for part in (text, *lines)) + "."
