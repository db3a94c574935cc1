"""Captions from a closed grammar with paraphrases. They state what happens, where and how often, but never the times of events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from random import Random

from ..core.timeline import PLACES, WHERE
from .scene import BACKGROUNDS, COLOURS, KINDS, SILENT, SIZES, TEMPI, Scene, Subject

VERBS = {
    "ball": "bounces",
    "bell": "rings",
    "lamp": "flashes",
    "drum": "beats",
    "bird": "chirps",
    "clock": "ticks",
    "cloud": "drifts",
    "star": "spins",
}
SCENERY = {"night": "at night", "meadow": "in a meadow", "desert": "in the desert"}
SILENCE = ("silently", "without a sound")
ONLY = (("only the", "sounds"), ("the", "alone sounds"))  # words around 'smaller one' or 'larger one'


def _clause(subject: Subject, rng: Random, *, article: str = "a") -> str:
    """One subject as a clause, in one of three paraphrases."""
    where, verb = WHERE[subject.place], VERBS[subject.kind]
    thing = f"{subject.size} {subject.colour} {subject.kind}"
    if not subject.seen:
        return rng.choice(
            (
                f"an unseen {subject.kind} {verb} {subject.tempo} {where}",
                f"off screen {where} a {subject.size} {subject.kind} {verb} {subject.tempo}",
            )
        )
    manner = verb if subject.kind in SILENT else f"{verb} {subject.tempo}"
    if not subject.heard and subject.said:
        manner = f"{manner} {rng.choice(SILENCE)}"
    return rng.choice(
        (
            f"{article} {thing} {where} {manner}",
            f"{article} {thing} {manner} {where}",
            f"{where} {article} {thing} {manner}",
        )
    )


def _body(scene: Scene, rng: Random) -> str:
    """The caption without its scenery."""
    clauses = [_clause(subject, rng) for subject in scene.subjects]
    if scene.rule == "then":
        return f"{clauses[0]} {rng.choice(('then', 'and then', 'before'))} {clauses[1]}"
    if scene.rule.startswith("after"):
        drum, other = scene.subjects
        ordinal = {"1": "first", "2": "second", "3": "third"}[scene.rule.split()[1]]
        answer = f"a {other.size} {other.colour} {other.kind} {WHERE[other.place]} {VERBS[other.kind]} once"
        return f"after the {ordinal} beat of a {drum.size} {drum.colour} drum {WHERE[drum.place]} {answer}"
    if scene.rule:
        one, two = scene.subjects
        degree = {"small": "smaller", "large": "larger"}[scene.rule]
        things = [f"a {s.size} {s.colour} {s.kind} {WHERE[s.place]}" for s in (one, two)]
        return f"{things[0]} and {things[1]} {rng.choice([f'{start} {degree} one {end}' for start, end in ONLY])}"
    return f" {rng.choice(('and', 'while'))} ".join(clauses)


def caption(scene: Scene, *, paraphrase: int = 0) -> str:
    """The caption of a scene. ``paraphrase`` selects one of several equivalent wordings."""
    rng = Random(f"duet caption 1/{scene.seed}/{scene.index}/{paraphrase}")
    scenery, body = SCENERY[scene.background], _body(scene, rng)
    return rng.choice((f"{scenery} {body}", f"{body} {scenery}"))


@cache
def _grammar() -> re.Pattern[str]:
    """A pattern that matches every caption."""
    kind, verb, where, scenery, silence = map(_one, (KINDS, VERBS.values(), WHERE.values(), SCENERY.values(), SILENCE))
    size, colour, tempo = map(_one, (SIZES, COLOURS, TEMPI))
    thing, manner = f"a {size} {colour} {kind}", f"{verb}(?: {tempo})?(?: {silence})?"
    seen = (f"{thing} {where} {manner}", f"{thing} {manner} {where}", f"{where} {thing} {manner}")
    unseen = (f"an unseen {kind} {verb} {tempo} {where}", f"off screen {where} a {size} {kind} {verb} {tempo}")
    clause = _one((*seen, *unseen))
    drum = f"after the (?:first|second|third) beat of a {size} {colour} drum {where}"
    only = _one(f"{start} {degree} one {end}" for degree in ("smaller", "larger") for start, end in ONLY)
    body = _one(
        (
            f"{clause}(?: (?:and then|and|then|before|while) {clause})?",
            f"{drum} {thing} {where} {verb} once",
            f"{thing} {where} and {thing} {where} {only}",
        )
    )
    return re.compile(f"{scenery} {body}|{body} {scenery}")


def _one(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(words)})"


def is_caption(text: str) -> bool:
    """Whether ``text``, in lower case without punctuation, is a complete caption of the grammar."""
    return _grammar().fullmatch(text) is not None


def vocabulary() -> list[str]:
    """Every word the grammar can produce, sorted."""
    fixed = "a an the and while then before unseen off screen after first second third beat of only alone one sounds smaller larger"
    phrases = [
        fixed,
        *VERBS.values(),
        *WHERE.values(),
        *SCENERY.values(),
        *SILENCE,
        *BACKGROUNDS,
        *COLOURS,
        *KINDS,
        *PLACES,
        *SIZES,
        *TEMPI,
    ]
    return sorted({word for phrase in phrases for word in phrase.split()})
