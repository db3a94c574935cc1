"""Edited scenes: with events moved as an artist would move them, or with audio that no longer matches the video."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ..core.streams import Streams
from ..core.timeline import PLACES
from .scene import ONSET_MARGIN, PLACE_X, Scene, Subject

MOVE = (0.3, 0.8)  # seconds by which one event is moved
CLEARANCE = 0.25  # seconds from a moved event to others of its kind; the video probe merges closer ones
CLEARANCE_OTHERS = 0.12  # seconds to events of other kinds, whose audio would blur the stereo position
MIN_INTERVAL = 0.15  # seconds between events of one kind when times are redrawn
MAX_EVENTS = 6  # of a subject whose times are redrawn
TRIES = 200
DELAY = (0.1, 0.4)  # seconds by which asynchronous audio is late or early
APART = 0.4  # share of the scenes in which some events are only seen or only heard
QUIET = 0.1  # share of the scenes in which objects that are seen and heard do nothing
ONE_STREAM = 0.3  # probability that an event is only seen, and that it is only heard


def moved(scene: Scene, rng: Random) -> Scene:
    """``scene`` with one event moved by 0.3 to 0.8 s in either direction: within the clip, away from other events if possible, and
    preferably an event that is both seen and heard."""
    subjects = [s for s in scene.subjects if s.times]
    subjects = [s for s in subjects if s.heard and s.seen] or subjects
    if not subjects:
        return scene
    best, most = scene, -1.0
    for _ in range(TRIES):
        subject = rng.choice(subjects)
        i = rng.randrange(len(subject.times))
        when = round(subject.times[i] + rng.choice((-1, 1)) * rng.uniform(*MOVE), 4)
        rest = (*subject.times[:i], *subject.times[i + 1 :])
        if when in rest or not ONSET_MARGIN <= when <= scene.seconds - ONSET_MARGIN:
            continue
        edit = _with(scene, subject, tuple(sorted((*rest, when))))
        free = _clearance(edit, subject.kind, when)
        if free > most:
            best, most = edit, free
        if free >= 1:
            break
    return best


def _clearance(scene: Scene, kind: str, when: float) -> float:
    """Distance from ``when`` to the nearest other event, as a share of the required clearance; 1 or more is enough."""
    shares = [
        abs(t - when) / (CLEARANCE if s.kind == kind else CLEARANCE_OTHERS)
        for s in scene.subjects
        for t in s.times
        if t != when
    ]
    return min(shares, default=1.0)


def irregular(scene: Scene) -> Scene:
    """``scene`` with irregular event times: in half of the scenes one or two events are moved, in the others all times are redrawn. The
    result depends only on the scene's seed and index."""
    rng = Random(f"duet edit 1/{scene.seed}/{scene.index}")
    if rng.random() < 0.5:
        for _ in range(rng.choice((1, 1, 2))):
            scene = moved(scene, rng)
        return scene
    for i in range(len(scene.subjects)):
        if scene.subjects[i].times:
            scene = _with(scene, scene.subjects[i], _random_times(scene, scene.subjects[i], rng))
    return scene


def _random_times(scene: Scene, subject: Subject, rng: Random) -> tuple[float, ...]:
    """One to six random times for ``subject``, at least ``MIN_INTERVAL`` from each other and from other subjects of its kind."""
    times: list[float] = []
    for _ in range(rng.randint(1, MAX_EVENTS)):
        when = round(rng.uniform(ONSET_MARGIN, scene.seconds - ONSET_MARGIN), 4)
        if all(abs(t - when) >= MIN_INTERVAL for t in times + _others(scene, subject)):
            times.append(when)
    return tuple(sorted(times)) or subject.times


def asynchronous(scene: Scene, rng: Random) -> Scene:
    """A scene whose audio does not match the video of ``scene``: late or early, jittered, from another place, or with one event missing
    or added. These are negatives for JavisDiT's contrastive loss."""
    heard = [s for s in scene.subjects if s.heard and s.times]
    if not heard:
        return scene
    change = rng.choice(("shift", "jitter", "move", "drop", "add"))
    chosen = rng.choice(heard)
    if change == "move":
        place = rng.choice([p for p in PLACES if p != chosen.place])
        other = replace(chosen, place=place, x=PLACE_X[place])
        return replace(scene, subjects=tuple(other if s is chosen else s for s in scene.subjects), edited=True)
    if change == "drop" and len(chosen.times) > 1:
        dropped = rng.randrange(len(chosen.times))
        return _with(scene, chosen, (*chosen.times[:dropped], *chosen.times[dropped + 1 :]))
    if change == "add" and (more := _random_times(scene, replace(chosen, times=()), rng)[:1]):
        return _with(scene, chosen, tuple(sorted({*chosen.times, *more})))
    late = rng.choice((-1, 1)) * rng.uniform(*DELAY)
    for subject in heard:
        delays = [late + (rng.uniform(-DELAY[1], DELAY[1]) if change == "jitter" else 0.0) for _ in subject.times]
        times = (
            min(max(t + d, ONSET_MARGIN), scene.seconds - ONSET_MARGIN)
            for t, d in zip(subject.times, delays, strict=True)
        )
        scene = _with(scene, subject, tuple(sorted({round(t, 4) for t in times})))
    return scene


def separated(scene: Scene) -> Streams[Scene]:
    """What is seen and what is heard of ``scene``. In most scenes both are ``scene``; in some, events of objects that are seen and heard
    are only seen or only heard, and in some these objects do nothing. The result depends only on the scene's seed and index."""
    rng = Random(f"duet separated 1/{scene.seed}/{scene.index}")
    draw = rng.random()
    if draw >= APART + QUIET:
        return Streams(scene, scene)
    seen = heard = scene
    for i, subject in enumerate(scene.subjects):
        if subject.seen and subject.heard:
            drawn = [(t, rng.random()) for t in subject.times if draw < APART]
            shown, sounding = (t for t, x in drawn if x >= ONE_STREAM), (t for t, x in drawn if x < 1 - ONE_STREAM)
            seen, heard = _with(seen, seen.subjects[i], tuple(shown)), _with(heard, heard.subjects[i], tuple(sounding))
    return Streams(seen, heard)


def is_separated(scenes: Streams[Scene]) -> bool:
    """Whether the streams differ, or an object that should be seen and heard does nothing."""
    seen, heard = scenes.both()
    return seen != heard or any(s.seen and s.heard and not s.times for s in seen.subjects)


def _others(scene: Scene, subject: Subject) -> list[float]:
    """Times of other subjects of the same kind."""
    return [t for s in scene.subjects if s is not subject and s.kind == subject.kind for t in s.times]


def _with(scene: Scene, subject: Subject, times: tuple[float, ...]) -> Scene:
    """``scene`` with the times of ``subject`` replaced."""
    subjects = tuple(replace(s, times=times) if s is subject else s for s in scene.subjects)
    return replace(scene, subjects=subjects, edited=True)
