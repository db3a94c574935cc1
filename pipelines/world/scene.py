"""Scenes of the procedural world: subjects, their events and the event times.

A scene is drawn from ``(seed, index)`` with Python's random generator, so lists of scenes are identical on every machine. The scene is
the ground truth: the renderers turn it into frames and samples, and captions describe part of it. Captions never state event times
(the phase of periodic events is hidden), so only coupled streams can agree on them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Literal

from ..core.timeline import PLACES

SOUNDING = ("ball", "bell", "lamp", "drum", "bird", "clock")
SILENT = ("cloud", "star")
KINDS = SOUNDING + SILENT
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
SIZES = ("small", "large")
TEMPI = ("slowly", "quickly", "once")
BACKGROUNDS = ("night", "meadow", "desert")
STRATA = ("single", "sequential", "simultaneous", "muted", "offscreen", "reasoning")

PERIOD = {"slowly": 0.85, "quickly": 0.42}  # seconds between events
JITTER = 0.08  # of a period
ONSET_MARGIN = 0.06  # seconds without events at both ends, so that each event is seen and heard
PLACE_X = {"left": 0.24, "middle": 0.5, "right": 0.76}  # in frame widths

Split = Literal["train", "test", "any"]


@dataclass(frozen=True)
class Subject:
    """One object in a scene. A muted source is ``seen`` but not ``heard``; an off-screen source is ``heard`` but not ``seen``."""

    kind: str
    colour: str
    size: str
    place: str
    x: float  # centre, in frame widths
    tempo: str
    times: tuple[float, ...]  # onsets, seconds
    heard: bool = True
    seen: bool = True
    said: bool = True  # whether the caption mentions that a muted source is silent


@dataclass(frozen=True)
class Scene:
    """The ground truth of a clip. ``rule`` is the comparison or count that the caption requires, or ''. ``edited``: events were moved, so
    the tempo in the caption may be wrong."""

    seed: int
    index: int
    stratum: str
    background: str
    seconds: float
    subjects: tuple[Subject, ...]
    rule: str = ""
    edited: bool = False

    def to_json(self) -> dict[str, object]:
        """The scene as plain data. 'edited' is included only if true, so that hashes of unedited scenes do not change."""
        return {name: value for name, value in asdict(self).items() if name != "edited" or value}


def held_out(colour: str, kind: str, place: str) -> bool:
    """Whether a combination is held out of training: for each kind and place one of the six colours, chosen by a stable hash."""
    return COLOURS.index(colour) == zlib.crc32(f"{kind} {place}".encode()) % len(COLOURS)


def event_times(
    rng: Random, tempo: str, seconds: float, *, start: float = 0.0, stop: float | None = None
) -> tuple[float, ...]:
    """Onsets in [start, stop): the first at a random phase, the others at jittered periods."""
    first, last = max(start, ONSET_MARGIN), min(seconds if stop is None else stop, seconds - ONSET_MARGIN)
    if tempo == "once":
        return (round(rng.uniform(first, max(first, last - 0.2)), 4),)
    period = min(PERIOD[tempo], last - first)
    times, t = [], first + rng.uniform(0.0, period)
    while t < last:
        times.append(round(t, 4))
        t += period * (1 + rng.uniform(-JITTER, JITTER))
    return tuple(times)


def _subject(
    rng: Random, split: Split, seconds: float, *, kinds: tuple[str, ...], place: str = "", size: str = ""
) -> Subject:
    """A subject of one of ``kinds`` whose combination of colour, kind and place belongs to ``split``."""
    where = place or rng.choice(PLACES)
    while True:
        kind, colour = rng.choice(kinds), rng.choice(COLOURS)
        if split == "any" or held_out(colour, kind, where) == (split == "test"):
            break
    tempo = rng.choices(TEMPI, weights=(2, 2, 1))[0]
    return Subject(
        kind=kind,
        colour=colour,
        size=size or rng.choice(SIZES),
        place=where,
        x=round(PLACE_X[where] + rng.uniform(-0.03, 0.03), 4),
        tempo=tempo,
        times=event_times(rng, tempo, seconds) if kind in SOUNDING else (),
        heard=kind in SOUNDING,
        said=kind in SOUNDING,
    )


def _pair(rng: Random, split: Split, seconds: float, *, second: tuple[str, ...] = SOUNDING) -> tuple[Subject, Subject]:
    """Two subjects at different places, possibly of the same kind."""
    left, right = rng.sample(PLACES, 2)
    return _subject(rng, split, seconds, kinds=SOUNDING, place=left), _subject(
        rng, split, seconds, kinds=second, place=right
    )


def _single(rng: Random, split: Split, seconds: float) -> tuple[tuple[Subject, ...], str]:
    return (_subject(rng, split, seconds, kinds=SOUNDING),), ""


def _sequential(rng: Random, split: Split, seconds: float) -> tuple[tuple[Subject, ...], str]:
    first, then = _pair(rng, split, seconds)
    half = seconds / 2
    first = replace(first, tempo="quickly", times=event_times(rng, "quickly", seconds, stop=half - 0.1))
    return (first, replace(then, tempo="quickly", times=event_times(rng, "quickly", seconds, start=half + 0.1))), "then"


def _simultaneous(rng: Random, split: Split, seconds: float) -> tuple[tuple[Subject, ...], str]:
    return _pair(rng, split, seconds), ""


def _muted(rng: Random, split: Split, seconds: float) -> tuple[tuple[Subject, ...], str]:
    """A muted source or a silent distractor; in half of the scenes together with a source that sounds."""
    first, other = _pair(rng, split, seconds, second=SILENT if rng.random() < 0.4 else SOUNDING)
    quiet = replace(other, heard=False, said=other.said and rng.random() < 0.5)
    return ((first, quiet) if rng.random() < 0.5 else (quiet,)), ""


def _offscreen(rng: Random, split: Split, seconds: float) -> tuple[tuple[Subject, ...], str]:
    """An off-screen source, together with a silent subject that is visible."""
    places = rng.sample(("left", "right"), 2)
    source = replace(_subject(rng, split, seconds, kinds=SOUNDING, place=places[0]), seen=False)
    return (source, _subject(rng, split, seconds, kinds=SILENT, place=places[1])), ""


def _reasoning(rng: Random, split: Split, seconds: float) -> tuple[tuple[Subject, ...], str]:
    """Which subject sounds follows from a comparison or a count in the caption."""
    if rng.random() < 0.5:
        rule = rng.choice(SIZES)
        places = rng.sample(PLACES, 2)
        one = _subject(rng, split, seconds, kinds=SOUNDING, place=places[0], size="small")
        two = _subject(rng, split, seconds, kinds=(one.kind,), place=places[1], size="large")
        return tuple(replace(s, heard=s.size == rule, said=False) for s in (one, two)), rule
    places = rng.sample(PLACES, 2)
    drum = _subject(rng, split, seconds, kinds=("drum",), place=places[0])
    other = _subject(rng, split, seconds, kinds=tuple(k for k in SOUNDING if k != "drum"), place=places[1])
    beats = event_times(rng, "quickly", seconds, stop=ONSET_MARGIN + 3.5 * PERIOD["quickly"])
    count = min(3, len(beats))
    answer = round(min(beats[count - 1] + PERIOD["quickly"] / 2, seconds - ONSET_MARGIN), 4)
    return (
        replace(drum, tempo="quickly", times=beats[:count]),
        replace(other, tempo="once", times=(answer,)),
    ), f"after {count}"


_STRATUM_SCENES: dict[str, Callable[[Random, Split, float], tuple[tuple[Subject, ...], str]]] = {
    "single": _single,
    "sequential": _sequential,
    "simultaneous": _simultaneous,
    "muted": _muted,
    "offscreen": _offscreen,
    "reasoning": _reasoning,
}
MIX = {"single": 0.30, "sequential": 0.18, "simultaneous": 0.18, "muted": 0.14, "offscreen": 0.14, "reasoning": 0.06}


def make_scene(seed: int, index: int, *, stratum: str = "", split: Split = "train", seconds: float = 2.0) -> Scene:
    """Scene ``index`` of list ``seed``; an empty ``stratum`` draws one from ``MIX``.

    Raises:
        ValueError: unknown stratum, or less than 1 s.
    """
    if stratum and stratum not in STRATA:
        raise ValueError(f"stratum is {stratum!r}; it must be one of {', '.join(STRATA)}.")
    if seconds < 1.0:
        raise ValueError(f"seconds is {seconds}; a scene needs at least 1 s for its events.")
    rng = Random(f"duet world 1/{split}/{seed}/{index}")
    stratum = stratum or rng.choices(list(MIX), weights=list(MIX.values()))[0]
    background = rng.choice(BACKGROUNDS)
    subjects, rule = _STRATUM_SCENES[stratum](rng, split, seconds)
    return Scene(seed, index, stratum, background, seconds, subjects, rule)


def make_scenes(
    seed: int, count: int, *, mix: dict[str, float] | None = None, split: Split = "train", seconds: float = 2.0
) -> list[Scene]:
    """The first ``count`` scenes of list ``seed``, with strata drawn from ``mix`` (default ``MIX``)."""
    weights = mix or MIX
    rng = Random(f"duet strata 1/{seed}")
    strata = rng.choices(list(weights), weights=list(weights.values()), k=count)
    return [make_scene(seed, i, stratum=s, split=split, seconds=seconds) for i, s in enumerate(strata)]
