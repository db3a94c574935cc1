"""The planner's language: prompts, then a timeline with four tokens for each event, under a grammar that permits only valid timelines.

    [system] video prompt [sound] audio prompt [timeline] (time kind place mark)* [end] placeholders

Letters: b batch, l tokens, v vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Bool
from torch import Tensor

from ...core.timeline import MARKS, PLACES, Event, Timeline
from ..pocket.text import WordTokenizer

PAD, SYSTEM, SOUND, TIMELINE, NO_TIMELINE, END, SEE, HEAR = range(8)
SPECIAL = 8
TICKS = 32  # per second; times are rounded to the nearest tick
MAX_EVENTS = 16
FIELDS = ("when", "what", "where", "mark")


def check_temperature(temperature: float) -> None:
    """Refuse a temperature with which nothing can be drawn.

    Raises:
        ValueError: it is negative or not a finite number.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(
            f"The temperature is {temperature:g}; it must be a finite number of at least 0. The default is 1."
        )


@dataclass(frozen=True)
class Field:
    """One field of an event and the tokens that it may contain."""

    first: int
    count: int

    def __contains__(self, token: object) -> bool:
        return isinstance(token, int) and self.first <= token < self.first + self.count


class PlanLanguage:
    """Tokens of prompts and timelines for clips of ``seconds``, with events of the given ``kinds``."""

    def __init__(self, words: list[str], kinds: tuple[str, ...], seconds: float) -> None:
        self.words, self.kinds, self.seconds = WordTokenizer(words), tuple(kinds), seconds
        self.marks = tuple(MARKS)
        sizes = (round(seconds * TICKS), len(self.kinds), len(PLACES), len(self.marks))
        first = SPECIAL + len(self.words.words)
        self.fields = tuple(Field(first + sum(sizes[:i]), size) for i, size in enumerate(sizes))
        self.size = first + sum(sizes)

    def prompt(self, video: str, audio: str = "") -> list[int]:
        """The tokens before a timeline. An empty audio prompt means that the video prompt also describes the audio."""
        seen, heard = (self.words.encode(text) if text.strip() else [] for text in (video, audio))
        return [SYSTEM, *(SPECIAL + i for i in seen), SOUND, *(SPECIAL + i for i in heard)]

    def write(self, timeline: Timeline | None) -> list[int]:
        """A timeline as tokens, from TIMELINE to END; ``None`` is the single token NO_TIMELINE.

        Raises:
            ValueError: there are too many events, an unknown kind of event, or a time beyond the clip.
        """
        if timeline is None:
            return [NO_TIMELINE]
        if len(timeline.events) > MAX_EVENTS:
            raise ValueError(
                f"The timeline has {len(timeline.events)} events; at most {MAX_EVENTS} can be planned. Remove some."
            )
        return [TIMELINE, *chain.from_iterable(map(self._event, timeline.events)), END]

    def _event(self, event: Event) -> list[int]:
        if event.what not in self.kinds:
            raise ValueError(
                f"The timeline has an event {event.what!r}; this planner knows {', '.join(self.kinds)}. Use one of these."
            )
        if event.when >= self.seconds:
            raise ValueError(
                f"The event {event.what!r} is at {event.when:g} s, but the clip ends at {self.seconds:g} s. Move it."
            )
        values = (
            min(round(event.when * TICKS), self.fields[0].count - 1),
            self.kinds.index(event.what),
            PLACES.index(event.where),
            self.marks.index((event.heard, event.seen)),
        )
        return [field.first + value for field, value in zip(self.fields, values, strict=True)]

    def read(self, tokens: list[int]) -> Timeline:
        """The timeline in the tokens of ``write``: its inverse."""
        body = tokens[1 : tokens.index(END)]
        events = []
        for start in range(0, len(body), len(FIELDS)):
            when, what, where, mark = (
                token - field.first for token, field in zip(body[start : start + 4], self.fields, strict=True)
            )
            heard, seen = self.marks[mark]
            events.append(Event(when / TICKS, self.kinds[what], PLACES[where], heard, seen))
        return Timeline.of(events)

    def allowed(self, written: list[int]) -> Bool[Tensor, " v"]:
        """Which tokens may follow ``written`` (starting with TIMELINE): the fields of an event in turn, times in order, END only between
        events."""
        out, body = torch.zeros(self.size, dtype=torch.bool), written[1:]
        turn = len(body) % len(FIELDS)
        field = self.fields[turn]
        first = field.first
        if turn == 0:
            out[END] = True
            if len(body) // len(FIELDS) == MAX_EVENTS:
                return out
            first = body[-len(FIELDS)] if body else field.first
        out[first : field.first + field.count] = True
        return out
