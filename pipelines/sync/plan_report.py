"""Planned against heard and seen: which event was asked for when, when it is heard and seen, and by how many milliseconds it is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from ..core.timed_events import TimedEvent
from .events import Events

HIT_SECONDS = 0.125  # an event that is at most this far from its time is a hit
REACH_SECONDS = 0.5  # an event further away is not taken for the one asked for
ANY = ""  # kind of an event that instruments without objects detect
STREAMS = {"video": "seen", "audio": "heard"}


@dataclass(frozen=True)
class Answer:
    """One event asked for, and the time in seconds at which it is found in each stream; None if it is not found, or not asked for."""

    event: TimedEvent
    seen: float | None
    heard: float | None

    def found(self, stream: str) -> float | None:
        """When the event is found in 'video' or 'audio'."""
        return getattr(self, STREAMS[stream])

    def off(self, stream: str) -> float | None:
        """Seconds by which the event is late in a stream, negative if it is early."""
        found = self.found(stream)
        return None if found is None else found - self.event.asked

    @property
    def hit(self) -> bool:
        """Whether the event is within ``HIT_SECONDS`` in every stream asked for."""
        offs = [self.off(stream) for stream in self.event.streams]
        return all(off is not None and abs(off) <= HIT_SECONDS for off in offs)

    def __str__(self) -> str:
        parts = []
        for stream in self.event.streams:
            off, word = self.off(stream), STREAMS[stream]
            parts.append(
                f"not {word}" if off is None else f"{word} at {self.found(stream):.2f} s ({1000 * off:+.0f} ms)"
            )
        return f"{self.event.asked:.2f} s {self.event.text}: {', '.join(parts)}"


@dataclass(frozen=True)
class PlanReport:
    """The answers in order of the times asked for. ``others``: events found in each stream that are no hits. ``chance``: the share of
    the events that would be hits at random times. ``instrument``: what detected the events."""

    answers: tuple[Answer, ...]
    others: dict[str, int]
    chance: float
    instrument: str

    @property
    def hit_rate(self) -> float:
        """Share of the events that are hits; 0 without events."""
        return sum(answer.hit for answer in self.answers) / len(self.answers) if self.answers else 0.0

    @property
    def off_ms(self) -> float | None:
        """Median absolute distance of the events found, in milliseconds."""
        offs = [answer.off(stream) for answer in self.answers for stream in answer.event.streams]
        found = [1000 * abs(off) for off in offs if off is not None]
        return median(found) if found else None

    def __str__(self) -> str:
        hits = sum(answer.hit for answer in self.answers)
        off = "" if self.off_ms is None else f", median distance {self.off_ms:.0f} ms"
        others = ", ".join(f"{number} {STREAMS[stream]}" for stream, number in self.others.items())
        head = f"{hits} of {len(self.answers)} events within {1000 * HIT_SECONDS:.0f} ms (by chance {100 * self.chance:.0f} %){off}"
        return "\n".join([head, f"other events: {others}; detected by {self.instrument}", *map(str, self.answers)])

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        rows = [
            {**asdict(a.event), "asked": a.event.asked, "seen": a.seen, "heard": a.heard, "hit": a.hit}
            for a in self.answers
        ]
        summary = {"hit_rate": self.hit_rate, "chance": self.chance, "off_ms": self.off_ms, "others": self.others}
        return {**summary, "instrument": self.instrument, "events": rows}


def nearest(asked: Sequence[float], found: Sequence[float]) -> dict[int, int]:
    """Index of the time found for each time asked, nearest pairs first, each time used once, at most ``REACH_SECONDS`` apart."""
    pairs = sorted((abs(a - f), i, j) for i, a in enumerate(asked) for j, f in enumerate(found))
    out: dict[int, int] = {}
    for distance, i, j in pairs:
        if distance <= REACH_SECONDS and i not in out and j not in out.values():
            out[i] = j
    return out


def plan_report(
    events: Sequence[TimedEvent],
    kinds: Sequence[str],
    found: Mapping[str, Events],
    *,
    seconds: float,
    instrument: str,
) -> PlanReport:
    """The report of a clip of ``seconds``. kinds: what each event is of the kinds in ``found``, or ``ANY``, which matches all of them.
    found: the events detected in 'video' and in 'audio'."""
    order = sorted(range(len(events)), key=lambda i: events[i].asked)
    times: dict[str, dict[int, float]] = {stream: {} for stream in STREAMS}
    others: dict[str, int] = {}
    pools: dict[tuple[str, str], list[float]] = {}  # stream and kind -> times detected
    for stream, detected in found.items():
        hits = 0
        for kind in dict.fromkeys(kinds):
            rows = [i for i in order if kinds[i] == kind and stream in events[i].streams]
            pool = sorted(t for name, ts in detected.items() if kind in (ANY, name) for t in ts)
            for i, j in nearest([events[i].asked for i in rows], pool).items():
                times[stream][rows[i]] = pool[j]
                hits += abs(pool[j] - events[rows[i]].asked) <= HIT_SECONDS
            pools[stream, kind] = pool
        others[stream] = sum(map(len, detected.values())) - hits
    answers = tuple(Answer(events[i], times["video"].get(i), times["audio"].get(i)) for i in order)
    chances = [
        covered([pools[stream, kind] for stream in event.streams if stream in found], seconds)
        for event, kind in zip(events, kinds, strict=True)
    ]
    return PlanReport(answers, others, sum(chances) / len(chances) if chances else 0.0, instrument)


def covered(pools: Sequence[Sequence[float]], seconds: float) -> float:
    """The share of a clip that is within ``HIT_SECONDS`` of a time in every one of ``pools``, one for each stream."""
    ends = {min(max(t + d, 0.0), seconds) for pool in pools for t in pool for d in (-HIT_SECONDS, HIT_SECONDS)}
    total = 0.0
    for start, stop in pairwise(sorted({0.0, seconds} | ends)):
        middle = (start + stop) / 2
        if all(any(abs(middle - t) <= HIT_SECONDS for t in pool) for pool in pools):
            total += stop - start
    return total / seconds if seconds and pools else 0.0
