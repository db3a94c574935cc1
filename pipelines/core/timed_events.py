"""Timed events: texts with a time range, the streams they are for and a strength, as values and as text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from .timeline import NUMBER, WHERE, Event, Timeline, quoted, quoted_line, read_line

BOTH = ("video", "audio")
STREAMS = {"both": BOTH, "video": ("video",), "audio": ("audio",)}  # word in a line -> streams
BEFORE, AFTER = 0.08, 0.14  # seconds around an event for which only one time is given
MAX_EVENTS, MAX_SECONDS = 1000, 3600.0
LEAST_SECONDS = 1e-3  # of an event that is cut
SHOWN_ERRORS = 5  # lines
EXAMPLE = "'0.5-1.2 both: a door slams' or '1.3 audio 0.8: thunder'"
# web/editor/timed.js reads the same lines in the browser; tests/timed_cases.json holds the two together.
TIME = r"[0-9]+\.?[0-9]*|\.[0-9]+"
HEAD = re.compile(
    rf"(?P<start>{TIME})(?:\s*[-\u2013]\s*(?P<end>{TIME}))?(?:\s+(?P<stream>[A-Za-z]+))?(?:\s+(?P<strength>\S+))?"
)


@dataclass(frozen=True)
class TimedEvent:
    """A text that holds from ``start`` to ``end`` (seconds) in ``streams``. ``onset`` is the time asked for if only one was given; the
    range then surrounds it. ``line`` is the line that the event was read from, 0 if there is none.

    Raises:
        ValueError: an empty or reversed range, times outside 0 to ``MAX_SECONDS``, an empty text or a strength outside 0 to 1.
    """

    start: float
    end: float
    text: str
    streams: tuple[str, ...] = BOTH
    strength: float = 1.0
    onset: float | None = None
    line: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.start <= MAX_SECONDS and 0 <= self.end <= MAX_SECONDS):
            raise ValueError(f"times must be from 0 to {MAX_SECONDS:g} seconds.")
        if self.end <= self.start:
            raise ValueError(
                f"the event ends at {self.end:g} s and starts at {self.start:g} s; it must end after it starts."
            )
        if not self.text.strip():
            raise ValueError("the text after the colon is empty. Describe what happens.")
        if not 0 < self.strength <= 1:
            raise ValueError("the strength must be above 0 and at most 1.")

    @classmethod
    def at(cls, onset: float, text: str, **more: object) -> TimedEvent:
        """An event at one time, with the range from ``BEFORE`` to ``AFTER`` around it."""
        start, end = max(0.0, onset - BEFORE), onset + AFTER
        return cls(start, end, text, **more, onset=onset)  # pyright: ignore[reportArgumentType] - fields of the class

    @property
    def asked(self) -> float:
        """The time at which the event should be heard or seen, in seconds."""
        return self.start if self.onset is None else self.onset

    def within(self, begin: float, end: float) -> TimedEvent | None:
        """The part of the event from ``begin`` to ``end`` seconds, in seconds from ``begin``; None if it lies outside."""
        start, stop = max(self.start, begin), min(self.end, end)
        if stop - start < LEAST_SECONDS:
            return None
        onset = None if self.onset is None or not begin <= self.onset < end else self.onset - begin
        return replace(self, start=start - begin, end=stop - begin, onset=onset)

    def __str__(self) -> str:
        when = f"{self.start:.10g}-{self.end:.10g}" if self.onset is None else f"{self.onset:.10g}"
        stream = next(word for word, streams in STREAMS.items() if streams == self.streams)
        return f"{when} {stream}{'' if self.strength == 1 else f' {self.strength:.10g}'}: {self.text}"


@dataclass(frozen=True)
class TimedEvents:
    """Events in the order in which they are written; they may overlap. As text, one line per event: a time or a range in seconds,
    optionally the stream ('both', 'video', 'audio') and a strength, a colon, and the text. Lines of a plan ('0.35 bell left') are read
    too. Lines that start with '#' are comments."""

    events: tuple[TimedEvent, ...] = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self.events))

    @classmethod
    def read(cls, text: str) -> TimedEvents:
        """Events from their text.

        Raises:
            ValueError: lines that are not events; the message names each line, what is wrong with it and the expected form.
        """
        events, errors = [], []
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                if len(events) == MAX_EVENTS:
                    raise ValueError(
                        f"at most {MAX_EVENTS} events are supported. Remove this line and the lines below it."
                    )
                events.append(_event(line, number))
            except ValueError as error:
                errors.append(f"Line {number} of the timed events, {quoted_line(line)}: {error}")
        if errors:
            more = len(errors) - SHOWN_ERRORS
            listed = errors[:SHOWN_ERRORS] + ([f"({more} more lines have errors.)"] if more > 0 else [])
            raise ValueError("\n".join(listed))
        return cls(tuple(events))

    @classmethod
    def of_timeline(cls, timeline: Timeline, text_of: Callable[[Event], str]) -> TimedEvents:
        """The events of a plan, each with a text and only in the streams in which it is heard or seen."""
        return cls(tuple(_planned(event, text_of(event)) for event in timeline.events))

    def within(self, begin: float, end: float, *, period: float = 0.0) -> TimedEvents:
        """The events from ``begin`` to ``end`` seconds, in seconds from ``begin``; in a loop of ``period`` seconds they repeat."""
        return TimedEvents(cut_events(self.events, begin, end, period=period))

    def require_within(self, seconds: float, *, cut: bool = False) -> None:
        """Check that every event lies within a clip of ``seconds``; with ``cut`` a range may end later than the clip.

        Raises:
            ValueError: an event is later; the message names its line.
        """
        for event in self.events:
            end = event.asked if cut or event.onset is not None else event.end
            if event.asked >= seconds or end > seconds + 1e-3:
                where = f"Line {event.line} of the timed events, " if event.line else ""
                when = f"is at {end:g} s" if end == event.asked else f"lasts from {event.asked:g} to {end:g} s"
                raise ValueError(
                    f"{where}{quoted_line(str(event))}: the event {when} and the clip ends at {seconds:g} s. "
                    "Change the time, or make the clip longer."
                )


def cut_events(
    events: Iterable[TimedEvent], begin: float, end: float, *, period: float = 0.0
) -> tuple[TimedEvent, ...]:
    """The parts of ``events`` from ``begin`` to ``end``; see ``TimedEvents.within``."""
    laps = (-period, 0.0, period) if period else (0.0,)
    parts = (event.within(begin - lap, end - lap) for event in events for lap in laps)
    return tuple(part for part in parts if part is not None)


def event_words(event: Event) -> str:
    """An event of a plan in words, e.g. 'the bell on the left'."""
    return f"the {event.what} {WHERE[event.where]}"


def _planned(event: Event, text: str, *, line: int = 0) -> TimedEvent:
    """An event of a plan with a text, in the streams in which it is seen and heard."""
    streams = tuple(name for name, there in zip(BOTH, (event.seen, event.heard), strict=True) if there)
    return TimedEvent.at(event.when, text, streams=streams, line=line)


def _event(line: str, number: int) -> TimedEvent:
    head, colon, text = line.partition(":")
    if not colon:
        planned = None
        with suppress(ValueError):
            planned = read_line(line)
        if planned is not None:
            return _planned(planned, event_words(planned), line=number)
    found = HEAD.fullmatch(head.strip())
    if not colon or found is None:
        raise ValueError(f"expected a time or a range in seconds, the stream, a colon and a text, e.g. {EXAMPLE}.")
    stream, strength = found["stream"] or "both", found["strength"]
    if stream not in STREAMS:
        raise ValueError(f"the stream is {quoted(stream)}; it must be both, video or audio.")
    more = {"streams": STREAMS[stream], "strength": 1.0 if strength is None else _number(strength), "line": number}
    if found["end"] is None:
        return TimedEvent.at(_number(found["start"]), text.strip(), **more)
    return TimedEvent(_number(found["start"]), _number(found["end"]), text.strip(), **more)


def _number(text: str) -> float:
    """A finite number.

    Raises:
        ValueError: not a number, or too large to be one.
    """
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{quoted(text)} is not a number in range.")
    return value
