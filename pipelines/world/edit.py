"""Scenes after an artist's edits: events moved, taken away or added, so that the caption's tempo no longer holds."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from .scene import ONSET_MARGIN, Scene, Subject

BY = (0.3, 0.8)  # seconds by which one event is moved
ROOM = 0.25  # seconds kept free of events of its kind around a moved one: nearer ones the picture's probe takes as one
ROOM_OTHERS = 0.12  # and of other kinds, whose sound would blur from which side it comes
APART = 0.15  # seconds between events of one kind that are drawn anew
MOST = 6  # events of a subject whose times are drawn anew
TRIES = 200


def moved(scene: Scene, rng: Random) -> Scene:
    """``scene`` with one event, of a subject both seen and heard if there is one, moved by 0.3 to 0.8 s either way: within the
    clip, and with room around it where there is any."""
    subjects = [s for s in scene.subjects if s.times]
    subjects = [s for s in subjects if s.heard and s.seen] or subjects
    if not subjects:
        return scene
    best, most = scene, -1.0
    for _ in range(TRIES):
        subject = rng.choice(subjects)
        i = rng.randrange(len(subject.times))
        when = round(subject.times[i] + rng.choice((-1, 1)) * rng.uniform(*BY), 4)
        rest = (*subject.times[:i], *subject.times[i + 1 :])
        if when in rest or not ONSET_MARGIN <= when <= scene.seconds - ONSET_MARGIN:
            continue
        edit = _with(scene, subject, tuple(sorted((*rest, when))))
        free = _room(edit, subject.kind, when)
        if free > most:
            best, most = edit, free
        if free >= 1:
            break
    return best


def _room(scene: Scene, kind: str, when: float) -> float:
    """How far the other events are from ``when``, in shares of the room that is asked for."""
    shares = [
        abs(t - when) / (ROOM if s.kind == kind else ROOM_OTHERS) for s in scene.subjects for t in s.times if t != when
    ]
    return min(shares, default=1.0)


def irregular(scene: Scene) -> Scene:
    """``scene`` with every sounding subject's times drawn anew, or, as often, one or two events moved; the same each time."""
    rng = Random(f"duet edit 1/{scene.seed}/{scene.index}")
    if rng.random() < 0.5:
        for _ in range(rng.choice((1, 1, 2))):
            scene = moved(scene, rng)
        return scene
    for i in range(len(scene.subjects)):
        if scene.subjects[i].times:
            scene = _with(scene, scene.subjects[i], _anywhere(scene, scene.subjects[i], rng))
    return scene


def _anywhere(scene: Scene, subject: Subject, rng: Random) -> tuple[float, ...]:
    """One to six times, each apart from all others of the kind."""
    times: list[float] = []
    for _ in range(rng.randint(1, MOST)):
        when = round(rng.uniform(ONSET_MARGIN, scene.seconds - ONSET_MARGIN), 4)
        if all(abs(t - when) >= APART for t in times + _others(scene, subject)):
            times.append(when)
    return tuple(sorted(times)) or subject.times


def _others(scene: Scene, subject: Subject) -> list[float]:
    """Times of other subjects of the same kind."""
    return [t for s in scene.subjects if s is not subject and s.kind == subject.kind for t in s.times]


def _with(scene: Scene, subject: Subject, times: tuple[float, ...]) -> Scene:
    subjects = tuple(replace(s, times=times) if s is subject else s for s in scene.subjects)
    return replace(scene, subjects=subjects, edited=True)
