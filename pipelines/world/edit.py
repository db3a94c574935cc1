"""Scenes that are not as they were drawn: after an artist's edits, and with a sound that no longer fits the picture."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ..core.timeline import PLACES
from .scene import ONSET_MARGIN, PLACE_X, Scene, Subject

BY = (0.3, 0.8)  # seconds by which one event is moved
ROOM = 0.25  # seconds kept free of events of its kind around a moved one: nearer ones the picture's probe takes as one
ROOM_OTHERS = 0.12  # and of other kinds, whose sound would blur from which side it comes
APART = 0.15  # seconds between events of one kind that are drawn anew
MOST = 6  # events of a subject whose times are drawn anew
TRIES = 200
SHIFT = (0.1, 0.4)  # seconds by which a sound is out of step


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


def asynchronous(scene: Scene, rng: Random) -> Scene:
    """A scene whose sound does not fit the picture of ``scene``: all of it late or early, jittered, from another place, or with
    one event less or more (the constructed negatives of JavisDiT's contrastive loss)."""
    heard = [s for s in scene.subjects if s.heard and s.times]
    if not heard:
        return scene
    way = rng.choice(("shift", "jitter", "move", "drop", "add"))
    chosen = rng.choice(heard)
    if way == "move":
        place = rng.choice([p for p in PLACES if p != chosen.place])
        other = replace(chosen, place=place, x=PLACE_X[place])
        return replace(scene, subjects=tuple(other if s is chosen else s for s in scene.subjects), edited=True)
    if way == "drop" and len(chosen.times) > 1:
        gone = rng.randrange(len(chosen.times))
        return _with(scene, chosen, (*chosen.times[:gone], *chosen.times[gone + 1 :]))
    if way == "add" and (more := _anywhere(scene, replace(chosen, times=()), rng)[:1]):
        return _with(scene, chosen, tuple(sorted({*chosen.times, *more})))
    late = rng.choice((-1, 1)) * rng.uniform(*SHIFT)
    for subject in heard:
        delays = [late + (rng.uniform(-SHIFT[1], SHIFT[1]) if way == "jitter" else 0.0) for _ in subject.times]
        times = (
            min(max(t + d, ONSET_MARGIN), scene.seconds - ONSET_MARGIN)
            for t, d in zip(subject.times, delays, strict=True)
        )
        scene = _with(scene, subject, tuple(sorted({round(t, 4) for t in times})))
    return scene


def _others(scene: Scene, subject: Subject) -> list[float]:
    """Times of other subjects of the same kind."""
    return [t for s in scene.subjects if s is not subject and s.kind == subject.kind for t in s.times]


def _with(scene: Scene, subject: Subject, times: tuple[float, ...]) -> Scene:
    subjects = tuple(replace(s, times=times) if s is subject else s for s in scene.subjects)
    return replace(scene, subjects=subjects, edited=True)
