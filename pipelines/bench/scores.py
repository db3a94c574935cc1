"""The scores of one clip on its prompt. A metric that does not apply to a prompt is absent, not zero.

``count_error`` is |events heard - events seen| of the clip, regardless of the caption; ``count_outside`` counts the events of
both streams that lie outside what the caption allows.
"""

from __future__ import annotations

from itertools import permutations

from ..sync.events import f1, offset, only
from ..world import Scene
from ..world.scene import Subject
from .prompts import Prompt
from .readings import Reading

Scores = dict[str, float]


def scores(prompt: Prompt, reading: Reading) -> Scores:
    """Every metric that applies to ``prompt``, except the three of synchrony that need further clips."""
    scene = prompt.scene
    out = {**_kinds(scene, reading), **_places(scene, reading), **_colours(scene, reading)}
    if prompt.audible:
        seen = reading.seen.events
        out["count_error"] = float(abs(sum(map(len, reading.heard.values())) - sum(map(len, seen.values()))))
        out["count_outside"] = _count_outside(scene, reading)
        late = offset(reading.heard, seen)
        out |= {} if late is None else {"offset_ms": 1000 * late}
        out |= _binding(scene, reading)
    if prompt.stratum == "reasoning":
        out["reasoning_all_met"] = float(_rule_met(scene, reading))
    if prompt.stratum == "silent":
        out |= _silence(scene, reading)
    if prompt.stratum == "offscreen":
        hidden = next(s.kind for s in scene.subjects if not s.seen)
        out["offscreen_sound"] = float(hidden in reading.heard)
        out["offscreen_no_visual"] = float(hidden not in reading.seen.kinds)
    return out


def _once(scene: Scene) -> list[Subject]:
    """The subjects whose kind occurs once, so that a detection of the kind refers to them."""
    kinds = [s.kind for s in scene.subjects]
    return [s for s in scene.subjects if kinds.count(s.kind) == 1]


def _kinds(scene: Scene, reading: Reading) -> Scores:
    """1 if exactly the kinds in the caption are seen, if exactly the audible ones are heard, and if both hold."""
    seen = reading.seen.kinds == {s.kind for s in scene.subjects if s.seen}
    heard = set(reading.heard) == {s.kind for s in scene.subjects if s.heard}
    return {"kind_accuracy": float(seen and heard), "kind_seen": float(seen), "kind_heard": float(heard)}


def _places(scene: Scene, reading: Reading) -> Scores:
    """Share of the subjects that are seen and heard at the place in the caption."""
    right = [
        (not s.seen or (s.kind in reading.seen.kinds and reading.seen.place(s.kind) == s.place))
        and (not s.heard or reading.sides.get(s.kind) == s.place)
        for s in _once(scene)
    ]
    return {"side_accuracy": sum(right) / len(right)} if right else {}


def _colours(scene: Scene, reading: Reading) -> Scores:
    """Share of the subjects in view that have the colour in the caption."""
    visible = [s for s in scene.subjects if s.seen]
    return {"colour_accuracy": sum(reading.seen.colour(s.kind, s.place) == s.colour for s in visible) / len(visible)}


def _count_outside(scene: Scene, reading: Reading) -> float:
    """Number of events in both streams outside the range that the caption allows: one more or one less than in the scene, because
    captions do not state the phase, and exactly one for 'once'."""
    out = 0
    for kind in {s.kind for s in scene.subjects if s.heard and s.seen}:
        mine = [s for s in scene.subjects if s.kind == kind and s.heard and s.seen]
        true, slack = sum(len(s.times) for s in mine), sum(s.tempo != "once" for s in mine)
        counts = (len(events.get(kind, ())) for events in (reading.heard, reading.seen.events))
        out += sum(max(0, abs(n - true) - slack) for n in counts)
    return float(out)


def _binding(scene: Scene, reading: Reading) -> Scores:
    """For two or more kinds: F1 of the events heard against those seen of the same kind, minus F1 against those of another kind."""
    kinds = sorted({s.kind for s in scene.subjects if s.heard and s.seen})
    if len(kinds) < 2:
        return {}
    seen = reading.seen.events
    own = [f1(only(reading.heard, (kind,)), only(seen, (kind,))) for kind in kinds]
    swapped = [f1({"": reading.heard.get(a, ())}, {"": seen.get(b, ())}) for a, b in permutations(kinds, 2)]
    return {"binding": sum(own) / len(own) - sum(swapped) / len(swapped)}


def _rule_met(scene: Scene, reading: Reading) -> bool:
    """Whether every part of the rule in the caption is met: only the named subject sounds, or the answer follows the counted beats."""
    if scene.rule in ("small", "large"):
        (sounding,) = (s for s in scene.subjects if s.heard)
        shown = {reading.seen.colour(s.kind, s.place) == s.colour for s in scene.subjects}
        return (
            set(reading.heard) == {sounding.kind} and reading.sides[sounding.kind] == sounding.place and shown == {True}
        )
    drum, answer = scene.subjects
    beats, answers = reading.heard.get(drum.kind, ()), reading.heard.get(answer.kind, ())
    in_order = len(beats) == len(drum.times) and len(answers) == 1 and answers[0] > max(beats)
    return in_order and reading.seen.kinds == {drum.kind, answer.kind}


def _silence(scene: Scene, reading: Reading) -> Scores:
    """1 if a kind is heard that should be silent."""
    sounding = {s.kind for s in scene.subjects if s.heard}
    silent = {s.kind for s in scene.subjects if not s.heard} - sounding
    return {"silent_false_alarm": float(bool(silent & set(reading.heard)))} if silent else {}
