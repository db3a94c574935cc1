"""The exact truth of a scene, as events and as a timeline."""

from __future__ import annotations

from ..core.timeline import Event, Timeline
from ..sync.events import Events
from .scene import Scene


def timeline_of(scene: Scene) -> Timeline:
    """What happens in a scene of the world: the oracle's timeline."""
    return Timeline.of(
        Event(time, subject.kind, subject.place, subject.heard, subject.seen)
        for subject in scene.subjects
        for time in subject.times
    )


def true_events(scene: Scene, *, stream: str) -> Events:
    """The scene's events in ``stream``: heard ones in 'audio', visible contacts (heard and seen) in 'video'."""
    events: dict[str, list[float]] = {}
    for s in scene.subjects:
        if s.heard and (s.seen or stream == "audio"):
            events.setdefault(s.kind, []).extend(s.times)
    return {kind: tuple(sorted(times)) for kind, times in events.items()}
