"""Events and their agreement: peaks of an onset map, matching within a tolerance, F1.

Letters: k kinds, t bins of an onset map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..world.scene import SOUNDING, Scene

TOLERANCE = 0.0625  # seconds: one video frame
Events = dict[str, tuple[float, ...]]  # kind -> onset times in seconds


def true_events(scene: Scene, *, stream: str) -> Events:
    """The scene's events in ``stream``: heard ones in 'audio', visible contacts (heard and seen) in 'video'."""
    events: dict[str, list[float]] = {}
    for s in scene.subjects:
        if s.heard and (s.seen or stream == "audio"):
            events.setdefault(s.kind, []).extend(s.times)
    return {kind: tuple(sorted(times)) for kind, times in events.items()}


def pick_peaks(
    onsets: Float[Tensor, "k t"],
    *,
    rate: float,
    threshold: float = 0.5,
    apart: float = 0.12,
    names: Sequence[str] = SOUNDING,
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
