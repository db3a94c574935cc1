"""The prompt reader: prompts as people type them, rewritten as captions of the world, the only language the pocket model was trained on.

The words are looked up in the tables of ``phrases``, gathered into at most two subjects, and written by the world's own caption grammar.
What a prompt leaves open gets a fixed value, so the same prompt always becomes the same caption. A complete caption is not changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from ...core.timeline import PLACES
from ...world import Scene, Subject, caption, is_caption
from ...world.caption import VERBS
from ...world.scene import COLOURS, KINDS, PERIOD, PLACE_X, SILENT, held_out
from . import phrases
from .parse import Draft, Item, Reader, items_of, split_words

MOST = 2  # subjects in a caption of the world
SECONDS = 2.0  # of the clips that the captions describe


@dataclass(frozen=True)
class PromptReading:
    """A prompt as it was typed, the caption it is read as, remarks about what the caption cannot express, and unknown words."""

    typed: str
    caption: str
    remarks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.caption != " ".join(split_words(self.typed))


def caption_words(text: str) -> set[str]:
    """The words of a caption that the phrases of ``text`` stand for, e.g. 'large' and 'ball' for 'big football'."""
    return {VERBS[item.value] if item.table == "verb" else item.value for item in items_of(text)}


def read_prompt(text: str) -> PromptReading:
    """The caption that a prompt is read as. An empty prompt and a complete caption are not changed.

    Raises:
        ValueError: the prompt names a subject that the world does not have, or none at all.
    """
    plain = " ".join(split_words(text))
    if not plain or is_caption(plain):
        return PromptReading(text, plain)
    items = list(items_of(text))
    unknown = tuple(dict.fromkeys(item.phrase for item in items if not item.table))
    _refuse_absent(items)
    reader = Reader()
    for item in items:
        reader.read(item)
    reader.finish()
    if not reader.subjects:
        raise ValueError(
            f"The prompt {text.strip()!r} names nothing that the pocket model can generate. It knows: {', '.join(KINDS)}. "
            "Example: 'a small red ball bounces slowly on the left at night'."
        )
    near = [f"'{item.phrase}' is not known; '{item.value}' is used instead." for item in items if item.near]
    return PromptReading(text, caption(_scene(reader)), (*dict.fromkeys(near), *_remarks(reader)), unknown)


def captions_of(prompts: Iterable[str]) -> list[str]:
    """The captions that ``prompts`` are read as, each once, without those that are refused."""
    found = []
    for prompt in prompts:
        with suppress(ValueError):
            found.append(read_prompt(prompt).caption)
    return list(dict.fromkeys(found))


def _refuse_absent(items: list[Item]) -> None:
    for item in items:
        if item.table == "absent":
            nearest = [item.value, *(kind for kind in KINDS if kind != item.value)]
            raise ValueError(
                f"The pocket model cannot generate {item.phrase!r}. It knows, nearest first: {', '.join(nearest)}. Use one of these."
            )


def _scene(reader: Reader) -> Scene:
    """A scene with the reader's subjects and without event times, from which the world writes the caption."""
    drafts = reader.subjects[:MOST]
    rule = _rule(reader, drafts)
    for draft, size in zip(drafts, ("small", "large"), strict=False):
        if rule in ("small", "large"):
            draft.said["size"] = size
    for draft, place in zip(drafts, _places(drafts), strict=True):
        draft.said["place"] = place
    subjects = tuple(_subject(draft, reader, rule) for draft in drafts)
    scenery = reader.scenery[-1] if reader.scenery else phrases.USUAL_SCENERY
    return Scene(0, 0, "people", scenery, SECONDS, subjects, rule)


def _rule(reader: Reader, drafts: list[Draft]) -> str:
    """The rule of the caption: 'then', 'after N' for a drum whose beats are counted, a comparison, or ''."""
    if len(drafts) < MOST:
        return ""
    one, two = drafts
    if reader.rule in ("small", "large"):
        return reader.rule if one.kind == two.kind else ""
    if reader.rule != "then" or {one.kind, two.kind} & set(SILENT) or reader.mute:
        return ""
    plain = not any(name in draft.said for draft in drafts for name in ("silent", "unseen"))
    counted = plain and one.kind == "drum" != two.kind and one.said.get("times") in ("1", "2", "3")
    return f"after {one.said['times']}" if counted else "then"


def _places(drafts: list[Draft]) -> list[str]:
    """A place for every subject: the middle for one, otherwise a free place from the left."""
    free = ["middle"] if len(drafts) == 1 else [p for p in ("left", "right", "middle") if p not in _used(drafts)]
    return [draft.said.get("place") or free.pop(0) for draft in drafts]


def _used(drafts: list[Draft]) -> list[str]:
    return [draft.said["place"] for draft in drafts if "place" in draft.said]


def _subject(draft: Draft, reader: Reader, rule: str) -> Subject:
    said, place = draft.said, draft.said["place"]
    heard = draft.kind not in SILENT and "silent" not in said and not reader.mute
    return Subject(
        kind=draft.kind,
        colour=said.get("colour") or _colour(draft.kind, place),
        size=said.get("size", phrases.USUAL_SIZE),
        place=place,
        x=PLACE_X[place],
        tempo=_tempo(said, rule),
        times=(),
        heard=heard,
        seen="unseen" not in said,
        said=draft.kind not in SILENT,
    )


def _colour(kind: str, place: str) -> str:
    """The usual colour of a kind, or the next one if that combination was held out of training."""
    start = COLOURS.index(phrases.USUAL_COLOUR[kind])
    return next(c for c in (*COLOURS[start:], *COLOURS[:start]) if not held_out(c, kind, place))


def _tempo(said: dict[str, str], rule: str) -> str:
    """The stated tempo, or the one whose events come nearest to a stated number, or the usual one."""
    if "tempo" in said:
        return said["tempo"]
    if "times" in said:
        number, seconds = int(said["times"]), SECONDS / 2 if rule == "then" else SECONDS
        near = {tempo: abs(seconds / period - number) for tempo, period in PERIOD.items()}
        return "once" if number == 1 else min(near, key=near.__getitem__)
    return "quickly" if rule == "then" else phrases.USUAL_TEMPO


def _remarks(reader: Reader) -> Iterator[str]:
    """What the caption leaves out or cannot state exactly."""
    drafts = reader.subjects
    if len(drafts) > MOST:
        left = ", ".join(draft.kind for draft in drafts[MOST:])
        yield f"A clip has at most {MOST} subjects; left out: {left}."
    if len(set(reader.scenery)) > 1:
        yield f"A clip has one scenery; '{reader.scenery[-1]}' is used."
    rule = _rule(reader, drafts[:MOST])
    if reader.rule and not rule:
        yield "The order or comparison cannot be expressed for these subjects; they are described side by side."
    for draft in drafts[:MOST]:
        number = draft.said.get("times", "1")
        if number != "1" and not rule.startswith("after"):
            yield f"{draft.kind}: {number} events cannot be requested exactly; '{_tempo(draft.said, rule)}' is the nearest tempo."
    for one, two in pairwise(drafts[:MOST]):
        if one.said.get("place") == two.said.get("place") in PLACES:
            yield f"Both subjects are at the {one.said['place']}; clips with two subjects have them at different places."
