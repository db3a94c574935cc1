"""Events and their agreement: peaks of an onset map, matching within a tolerance, F1.

Letters: k kinds, t bins of an onset map.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.timeline import Timeline


def against_plan(timeline: Timeline, heard: Events, seen: Events) -> str:
    """F1 of the events of each stream against the plan's, in words."""

    def planned(stream: str) -> Events:
        kinds = dict.fromkeys(event.what for event in timeline.events)
        events = {k: tuple(e.when for e in timeline.events if e.what == k and getattr(e, stream)) for k in kinds}
        return {kind: times for kind, times in events.items() if times}

    return f"against the plan: heard F1 {f1(heard, planned('heard')):.2f}, seen F1 {f1(seen, planned('seen')):.2f}"


def offset(heard: Events, seen: Events) -> float | None:
    """Median signed offset in seconds (positive: sound late) of the matched events, ``None`` if none match."""
    gaps = [a - v for kind in heard for a, v in match(heard[kind], seen.get(kind, ()))]
    return median(gaps) if gaps else None


def best_offset(heard: Events, seen: Events, *, reach: float = 0.6) -> float | None:
    """Signed offset in seconds, up to ``reach`` either way, at which most events match; the median over those matches."""
    gaps = [a - v for kind in heard for a in heard[kind] for v in seen.get(kind, ()) if abs(a - v) <= reach]

    def matches(late: float) -> list[float]:
        pairs = [match([t - late for t in heard[kind]], seen.get(kind, ())) for kind in heard]
        return [late + a - v for part in pairs for a, v in part]

    best = max((matches(gap) for gap in gaps), key=len, default=[])
    return median(best) if best else None


TOLERANCE = 0.0625  # seconds: one video frame
Events = dict[str, tuple[float, ...]]  # kind -> onset times in seconds


def pick_peaks(
    onsets: Float[Tensor, "k t"],
    *,
    names: Sequence[str],
    rate: float,
    threshold: float = 0.5,
    apart: float = 0.12,
) -> Events:
    """Of each of ``names``: local maxima above ``threshold``, at least ``apart`` seconds from a higher one, refined by a parabola."""
    found: Events = {}
    reach = round(apart * rate)
    for kind, row in zip(names, onsets, strict=True):
        padded = torch.nn.functional.pad(row, (1, 1))
        highest = torch.nn.functional.max_pool1d(row[None], 2 * reach + 1, 1, reach)[0]
        times = []
        for i in torch.nonzero((row >= highest) & (row > threshold)).flatten().tolist():
            before, here, after = padded[i : i + 3].tolist()
            bend = before - 2 * here + after
            times.append(round((i + 0.5 + (0.5 * (before - after) / bend if bend < 0 else 0.0)) / rate, 4))
        if times:
            found[kind] = tuple(times)
    return found


def match(a: Sequence[float], b: Sequence[float], *, tolerance: float = TOLERANCE) -> list[tuple[float, float]]:
    """The most pairs of times at most ``tolerance`` apart, each time used once (both sorted; greedy is optimal here)."""
    pairs, i, j = [], 0, 0
    a, b = sorted(a), sorted(b)
    while i < len(a) and j < len(b):
        if abs(a[i] - b[j]) <= tolerance:
            pairs.append((a[i], b[j]))
            i, j = i + 1, j + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return pairs


def f1(a: Events, b: Events, *, tolerance: float = TOLERANCE) -> float:
    """F1 of ``a`` against ``b``, matched kind by kind. Nothing against nothing is 0: two quiet streams cannot win."""
    hits = sum(len(match(times, b.get(kind, ()), tolerance=tolerance)) for kind, times in a.items())
    total = sum(len(times) for events in (a, b) for times in events.values())
    return 2 * hits / total if total else 0.0


def only(events: Events, kinds: Sequence[str]) -> Events:
    """The events of ``kinds``."""
    return {kind: times for kind, times in events.items() if kind in kinds}
