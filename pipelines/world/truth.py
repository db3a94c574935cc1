"""The ground truth of a scene as events and as a timeline."""

from __future__ import annotations

from ..core.timeline import Event, Timeline
from ..sync.events import Events
from .scene import Scene


def timeline_of(scene: Scene) -> Timeline:
    """The true timeline of a scene."""
    return Timeline.of(
        Event(time, subject.kind, subject.place, subject.heard, subject.seen)
        for subject in scene.subjects
        for time in subject.times
    )


def true_events(scene: Scene, *, stream: str) -> Events:
    """The events of a scene in ``stream``: audible ones for 'audio', audible and visible ones for 'video'."""
    events: dict[str, list[float]] = {}
    for s in scene.subjects:
        if s.heard and (s.seen or stream == "audio"):
            events.setdefault(s.kind, []).extend(s.times)
    return {kind: tuple(sorted(times)) for kind, times in events.items()}
