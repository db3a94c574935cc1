"""How well a clip follows a plan: which planned events occur in both streams, and how far from their planned time."""

from __future__ import annotations

from statistics import median

from ..sync.events import Events, match
from .readings import Reading

REALISED_SECONDS = 0.125


def plan_scores(plan: Events, reading: Reading) -> dict[str, float]:
    """'plan_realised': the share of planned events with an event of the same kind within 125 ms in both streams (matched one to
    one); 'plan_error_ms': the median time difference of those, over both streams."""
    planned, errors = 0, []
    for kind, times in plan.items():
        streams = (reading.heard, reading.seen.events)
        matched = [dict(match(times, events.get(kind, ()), tolerance=REALISED_SECONDS)) for events in streams]
        planned += len(times)
        errors += [[1000 * abs(s[t] - t) for s in matched] for t in times if all(t in s for s in matched)]
    out = {"plan_realised": len(errors) / planned} if planned else {}
    return out | ({"plan_error_ms": median(e for pair in errors for e in pair)} if errors else {})
