"""How well a clip keeps a plan: which planned events happen in both streams, and how far from their time."""

from __future__ import annotations

from statistics import median

from ..sync.events import Events, match
from .readings import Reading

REALISED_SECONDS = 0.125


def plan_scores(plan: Events, take: Reading) -> dict[str, float]:
    """'plan_realised': the share of planned events with one of their kind within 125 ms in both streams, each event serving
    one plan; 'plan_error_ms': the median distance of those, over both streams."""
    wanted, errors = 0, []
    for kind, times in plan.items():
        streams = (take.heard, take.seen.events)
        kept = [dict(match(times, events.get(kind, ()), tolerance=REALISED_SECONDS)) for events in streams]
        wanted += len(times)
        errors += [[1000 * abs(stream[t] - t) for stream in kept] for t in times if all(t in stream for stream in kept)]
    out = {"plan_realised": len(errors) / wanted} if wanted else {}
    return out | ({"plan_error_ms": median(e for pair in errors for e in pair)} if errors else {})
