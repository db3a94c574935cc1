"""The scores of one clip on its prompt. A metric that does not apply to a prompt is absent, not zero.

``count_error`` is |events heard - events seen| of the clip, whatever the caption asks for; ``count_outside`` counts the events of
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


def scores(prompt: Prompt, take: Reading) -> Scores:
    """Every metric that applies to ``prompt`` but the three of synchrony that need further clips."""
    scene = prompt.scene
    out = {**_kinds(scene, take), **_places(scene, take), **_colours(scene, take)}
    if prompt.audible:
        seen = take.seen.events
        out["count_error"] = float(abs(sum(map(len, take.heard.values())) - sum(map(len, seen.values()))))
        out["count_outside"] = _count_outside(scene, take)
        late = offset(take.heard, seen)
        out |= {} if late is None else {"offset_ms": 1000 * late}
        out |= _binding(scene, take)
    if prompt.stratum == "reasoning":
        out["reasoning_all_met"] = float(_reasoned(scene, take))
    if prompt.stratum == "silent":
        out |= _silence(scene, take)
    if prompt.stratum == "offscreen":
        hidden = next(s.kind for s in scene.subjects if not s.seen)
        out["offscreen_sound"] = float(hidden in take.heard)
        out["offscreen_no_visual"] = float(hidden not in take.seen.kinds)
    return out


def _once(scene: Scene) -> list[Subject]:
    """The subjects whose kind is there once, so that what the instruments say of the kind is about them."""
    kinds = [s.kind for s in scene.subjects]
    return [s for s in scene.subjects if kinds.count(s.kind) == 1]


def _kinds(scene: Scene, take: Reading) -> Scores:
    """1 where exactly the captioned kinds are seen, where exactly those that should sound are heard, and where both are."""
    seen = take.seen.kinds == {s.kind for s in scene.subjects if s.seen}
    heard = set(take.heard) == {s.kind for s in scene.subjects if s.heard}
    return {"kind_accuracy": float(seen and heard), "kind_seen": float(seen), "kind_heard": float(heard)}


def _places(scene: Scene, take: Reading) -> Scores:
    """Share of the subjects that are seen and heard where the caption puts them."""
    right = [
        (not s.seen or (s.kind in take.seen.kinds and take.seen.place(s.kind) == s.place))
        and (not s.heard or take.sides.get(s.kind) == s.place)
        for s in _once(scene)
    ]
    return {"side_accuracy": sum(right) / len(right)} if right else {}


def _colours(scene: Scene, take: Reading) -> Scores:
    """Share of the subjects in view that have the captioned colour."""
    visible = [s for s in scene.subjects if s.seen]
    return {"colour_accuracy": sum(take.seen.colour(s.kind, s.place) == s.colour for s in visible) / len(visible)}


def _count_outside(scene: Scene, take: Reading) -> float:
    """Events of either stream beyond what the caption allows: one more or less than the scene's own, as its phase is
    never said, and exactly one where it says 'once'."""
    out = 0
    for kind in {s.kind for s in scene.subjects if s.heard and s.seen}:
        mine = [s for s in scene.subjects if s.kind == kind and s.heard and s.seen]
        true, slack = sum(len(s.times) for s in mine), sum(s.tempo != "once" for s in mine)
        counts = (len(events.get(kind, ())) for events in (take.heard, take.seen.events))
        out += sum(max(0, abs(n - true) - slack) for n in counts)
    return float(out)


def _binding(scene: Scene, take: Reading) -> Scores:
    """Two kinds: F1 of each with its own picture, minus F1 with the other's."""
    kinds = sorted({s.kind for s in scene.subjects if s.heard and s.seen})
    if len(kinds) < 2:
        return {}
    seen = take.seen.events
    own = [f1(only(take.heard, (kind,)), only(seen, (kind,))) for kind in kinds]
    swapped = [f1({"": take.heard.get(a, ())}, {"": seen.get(b, ())}) for a, b in permutations(kinds, 2)]
    return {"binding": sum(own) / len(own) - sum(swapped) / len(swapped)}


def _reasoned(scene: Scene, take: Reading) -> bool:
    """Whether the rule was followed in every part: only the one asked for sounds, or the answer follows the count."""
    if scene.rule in ("small", "large"):
        (sounding,) = (s for s in scene.subjects if s.heard)
        shown = {take.seen.colour(s.kind, s.place) == s.colour for s in scene.subjects}
        return set(take.heard) == {sounding.kind} and take.sides[sounding.kind] == sounding.place and shown == {True}
    drum, answer = scene.subjects
    beats, answers = take.heard.get(drum.kind, ()), take.heard.get(answer.kind, ())
    in_order = len(beats) == len(drum.times) and len(answers) == 1 and answers[0] > max(beats)
    return in_order and take.seen.kinds == {drum.kind, answer.kind}


def _silence(scene: Scene, take: Reading) -> Scores:
    """Whether something is heard that should be silent."""
    sounding = {s.kind for s in scene.subjects if s.heard}
    silent = {s.kind for s in scene.subjects if not s.heard} - sounding
    return {"silent_false_alarm": float(bool(silent & set(take.heard)))} if silent else {}
