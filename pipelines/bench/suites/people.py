"""Prompts as people type them, under the default guidance: with the prompt reader, and encoded as written."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...core.statistics import mean_interval
from ...core.streams import Clip
from ...core.timeline import PLACES
from ...guidance.strategy import DEFAULT
from ...models.pocket.generate import Request, generate
from ...models.pocket.load import PocketModel
from ...world.scene import KINDS
from ..people import HELD_OUT, TUNED, PeoplePrompt, Wanted, people_prompts
from ..readings import Probes, Reading, read
from ..runner import CHUNK, RECORD, RECORD_STEPS, Rows, Run
from ..scores import Scores
from ..tables import Table

PRESENT = 0.3  # probability above which a kind is at a place; counts every object right in 60 rendered clips, 0.5 in 58
READ, AS_WRITTEN = "read", "as-written"
Record = tuple[PeoplePrompt, Scores]


def measure(run: Run) -> Table:
    """The sixty prompts, each with ``run.prompts / 60`` seeds (at least one)."""
    seeds = max(1, run.prompts // len(people_prompts()))
    prompts = people_prompts() * seeds
    model, probes = PocketModel.load(), Probes.load()
    records = {
        name: records_of(model, probes, prompts, run, as_written=name == AS_WRITTEN) for name in (READ, AS_WRITTEN)
    }
    notes = {
        "settings": f"{RECORD_STEPS} steps, {DEFAULT!r}",
        "tuned": "the prompts that were looked at while the tables of the prompt reader were written",
        "held-out": "the prompts that were not",
    }
    return Table("people", len(prompts), run.seed, {name: _rows(found) for name, found in records.items()}, notes)


@torch.inference_mode()
def records_of(
    model: PocketModel, probes: Probes, prompts: Sequence[PeoplePrompt], run: Run, *, as_written: bool
) -> list[Record]:
    """The scores of every prompt; a prompt that is refused by mistake has no clip and scores as wrong throughout."""
    records: list[Record] = []
    for start in range(0, len(prompts), CHUNK):
        part = prompts[start : start + CHUNK]
        clips = [_clip(model, prompt, run.seed * 100_000 + start + k, as_written) for k, prompt in enumerate(part)]
        readings = iter(read(probes, [clip for clip in clips if clip is not None]))
        records += [
            (p, prompt_scores(p, next(readings) if clip else None)) for p, clip in zip(part, clips, strict=True)
        ]
        run.on_chunk(len(part))
    return records


def _clip(model: PocketModel, prompt: PeoplePrompt, seed: int, as_written: bool) -> Clip | None:
    """The clip of a prompt, or None if the prompt is refused."""
    try:
        (clip,) = generate(model, Request([prompt.text], seed=seed, **RECORD, as_written=as_written))
    except ValueError:
        return None
    return clip


def prompt_scores(prompt: PeoplePrompt, reading: Reading | None) -> Scores:
    """The scores of one clip. A metric that does not apply is absent.

    ``refusal_right``: the prompt is refused (no ``reading``) exactly if it must be; the others do not apply to a prompt that must be.
    ``kinds_right``: exactly the kinds asked for are seen and heard. ``not_asked``: some other kind is seen or heard, or one that should be
    silent or unseen. ``colours_right``: share of the stated colours that are seen on their kind. ``count_right``: every stated number of
    objects and of events is met in both streams.
    """
    out = {"refusal_right": float((reading is None) == prompt.refused)}
    if prompt.refused:
        return out
    coloured = [w for w in prompt.wanted if w.colour and w.seen]
    if reading is None:
        counted = any(w.events or w.number > 1 for w in prompt.wanted)
        return {
            **out,
            "kinds_right": 0.0,
            **({"colours_right": 0.0} if coloured else {}),
            **({"count_right": 0.0} if counted else {}),
        }
    seen, heard = reading.seen.kinds, set(reading.heard)
    asked_seen = {w.kind for w in prompt.wanted if w.seen}
    asked_heard = {w.kind for w in prompt.wanted if w.heard}
    out |= {
        "kinds_right": float(seen == asked_seen and heard == asked_heard),
        "not_asked": float(bool(seen - asked_seen or heard - asked_heard)),
    }
    if coloured:
        out["colours_right"] = sum(w.colour in _colours(w, prompt, reading) for w in coloured) / len(coloured)
    counts = [right for w in prompt.wanted for right in _counts(w, prompt, reading)]
    return out | ({"count_right": float(all(counts))} if counts else {})


def _places(kind: str, reading: Reading) -> list[tuple[float, str]]:
    """The places with the probability that ``kind`` is there, most likely first."""
    found = reading.seen.things[:, KINDS.index(kind)].amax(1).tolist()
    return sorted(zip(found, PLACES, strict=True), reverse=True)


def _colours(wanted: Wanted, prompt: PeoplePrompt, reading: Reading) -> set[str]:
    """The colours of a kind at its likeliest places, as many as there are objects of it."""
    number = sum(w.number for w in prompt.wanted if w.kind == wanted.kind)
    return {reading.seen.colour(wanted.kind, place) for _, place in _places(wanted.kind, reading)[:number]}


def _counts(wanted: Wanted, prompt: PeoplePrompt, reading: Reading) -> list[bool]:
    """Whether each number that the prompt states for a subject is met."""
    objects = sum(w.number for w in prompt.wanted if w.kind == wanted.kind)
    out = [] if objects == 1 else [sum(p > PRESENT for p, _ in _places(wanted.kind, reading)) == objects]
    if wanted.events:
        low, high = wanted.events
        streams = [(wanted.heard, reading.heard), (wanted.seen, reading.seen.events)]
        out += [low <= len(events.get(wanted.kind, ())) <= high for applies, events in streams if applies]
    return out


def _rows(records: Sequence[Record]) -> Rows:
    """Means with intervals for all prompts and for each half."""
    rows: Rows = {}
    for stratum in ("all", TUNED, HELD_OUT):
        part = [scores for prompt, scores in records if stratum in ("all", prompt.half)]
        names = dict.fromkeys(name for scores in part for name in scores)
        rows[stratum] = {name: mean_interval([s[name] for s in part if name in s]) for name in names}
    return rows
