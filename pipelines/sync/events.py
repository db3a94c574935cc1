"""Events and their agreement: peaks of onset maps, matching within a tolerance, F1.

Letters: k kinds, t bins of an onset map.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.timeline import Timeline
from .peaks import local_maxima, parabola_peak

TOLERANCE = 0.0625  # seconds: one video frame of the pocket model
Events = dict[str, tuple[float, ...]]  # kind -> onset times in seconds


def pick_peaks(
    onsets: Float[Tensor, "k t"],
    *,
    names: Sequence[str],
    rate: float,
    threshold: float = 0.5,
    distance: float = 0.12,
) -> Events:
    """Onset times of each of ``names``, one row of ``onsets`` each at ``rate`` bins per second: peaks above ``threshold`` with no higher
    value within ``distance`` seconds, refined between bins."""
    found: Events = {}
    for kind, row in zip(names, onsets, strict=True):
        padded = torch.nn.functional.pad(row, (1, 1))
        times = []
        for i in torch.nonzero(local_maxima(row, reach=round(distance * rate)) & (row > threshold)).flatten().tolist():
            times.append(round((i + 0.5 + parabola_peak(*padded[i : i + 3].tolist())) / rate, 4))
        if times:
            found[kind] = tuple(times)
    return found


def match(a: Sequence[float], b: Sequence[float], *, tolerance: float = TOLERANCE) -> list[tuple[float, float]]:
    """The largest set of pairs of times at most ``tolerance`` apart, each time used once (on sorted times, greedy matching is optimal)."""
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
    """F1 of ``a`` against ``b``, matched kind by kind. If both are empty it is 0, so that a clip without events never scores."""
    hits = sum(len(match(times, b.get(kind, ()), tolerance=tolerance)) for kind, times in a.items())
    total = sum(len(times) for events in (a, b) for times in events.values())
    return 2 * hits / total if total else 0.0


def offset(heard: Events, seen: Events) -> float | None:
    """Median signed offset in seconds (positive: audio late) of the matched events, ``None`` if none match."""
    gaps = [a - v for kind in heard for a, v in match(heard[kind], seen.get(kind, ()))]
    return median(gaps) if gaps else None


def best_offset(heard: Events, seen: Events, *, reach: float = 0.6) -> float | None:
    """Signed offset in seconds, at most ``reach`` either way, at which the most events match: the median over those matches, ``None``
    without any."""
    gaps = [a - v for kind in heard for a in heard[kind] for v in seen.get(kind, ()) if abs(a - v) <= reach]

    def offsets_at(late: float) -> list[float]:
        pairs = [match([t - late for t in heard[kind]], seen.get(kind, ())) for kind in heard]
        return [late + a - v for part in pairs for a, v in part]

    best = max((offsets_at(gap) for gap in gaps), key=len, default=[])
    return median(best) if best else None


def only(events: Events, kinds: Sequence[str]) -> Events:
    """The events of ``kinds``."""
    return {kind: times for kind, times in events.items() if kind in kinds}


def against_plan(timeline: Timeline, heard: Events, seen: Events) -> str:
    """F1 of the detected events of each stream against the planned events, as text."""

    def planned(stream: str) -> Events:
        kinds = dict.fromkeys(event.what for event in timeline.events)
        events = {k: tuple(e.when for e in timeline.events if e.what == k and getattr(e, stream)) for k in kinds}
        return {kind: times for kind, times in events.items() if times}

    return f"against the plan: heard F1 {f1(heard, planned('heard')):.2f}, seen F1 {f1(seen, planned('seen')):.2f}"
