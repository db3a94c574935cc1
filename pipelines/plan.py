"""Plans: tokens of both streams with places in the unit cube (Baton), and the readable timeline they stand for.

Letters: b batch, n plan tokens, d channels of one, a axes (time; for video also row and column).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .streams import Streams
from .world.scene import PLACES

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


@dataclass(frozen=True)
class PlacedTokens:
    """Tokens for one stream to read, with their centres in [0, 1]^a as ``places``; ``shown`` hides a sample's where False."""

    tokens: Float[Tensor, "b n d"]
    places: Float[Tensor, "n a"]
    shown: Bool[Tensor, " b"] | None = None

    def repeated(self, count: int, shown: Bool[Tensor, " rows"]) -> PlacedTokens:
        """The same tokens for each of ``count`` branches, hidden in those rows where ``shown`` is False."""
        rows = shown if self.shown is None else shown & self.shown.repeat(count)
        return PlacedTokens(self.tokens.repeat(count, 1, 1), self.places, rows)


PlanStreams = Streams[PlacedTokens]


def rows_of(plan: PlanStreams, rows: slice) -> PlanStreams:
    """The plan of some of its samples."""
    return plan.map(lambda p: PlacedTokens(p.tokens[rows], p.places, None if p.shown is None else p.shown[rows]))


def unit_grid(*counts: int) -> Float[Tensor, "n a"]:
    """Centres of a regular grid in the unit cube, the first axis slowest: equal grids have equal places."""
    axes = [(torch.arange(count, dtype=torch.float32) + 0.5) / count for count in counts]
    return torch.cartesian_prod(*axes).view(-1, len(counts))


def sines(places: Float[Tensor, "n a"], *, octaves: int) -> Float[Tensor, "n two_octaves_a"]:
    """Places in the unit cube as sines and cosines of half a turn, one turn, two, ..., for layers that read where a thing is."""
    turns = 2.0 ** torch.arange(octaves, device=places.device) * math.pi
    angles = (places[..., None] * turns).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


@dataclass(frozen=True)
class Plan:
    """Planned tokens of both streams, the prompts and the timeline they stand for (None in the paper's mode), and the seed it
    was drawn with."""

    streams: PlanStreams
    video: str
    audio: str
    timeline: Timeline | None
    seed: int
    seconds: float  # length of the clip that the places are shares of

    @property
    def told(self) -> ToldPlan:
        return ToldPlan(self.video, self.audio, self.timeline, self.seed)


@dataclass(frozen=True)
class ToldPlan:
    """A plan as it is kept: without its tokens, which a planner makes again from the rest."""

    video: str
    audio: str
    timeline: Timeline | None
    seed: int

    def to_json(self) -> str:
        events = None if self.timeline is None else json.loads(self.timeline.to_json())
        return json.dumps({**vars(self), "timeline": events}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ToldPlan:
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
