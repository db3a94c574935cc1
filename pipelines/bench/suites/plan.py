"""The effect of plans: no plan, Baton's planner without a timeline, with a timeline, features of the rendered clip, and those features
at wrong positions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from random import Random

from ...core.conditions import PlanStreams
from ...core.sizes import ClipShape
from ...core.statistics import Interval, mean_interval
from ...core.streams import Clip
from ...core.timeline import Event, Timeline
from ...guidance.strategy import PerStreamCFG
from ...models.choose import load_model, with_condition
from ...models.planner.load import load_planner
from ...models.planner.planner import VAPlanner
from ...models.planner.request import join_plans
from ...models.pocket.generate import Request, generate
from ...models.pocket.load import PocketModel
from ...sync.events import Events, match
from ...world import moved as moved_by_hand
from ...world.scene import SOUNDING
from ...world.truth import timeline_of, true_events
from ..plan_scores import REALISED_SECONDS
from ..plan_targets import oracle_plan, shuffled_plan
from ..prompts import AUDIBLE, Prompt, bench_prompts
from ..readings import Probes, Reading, read, reconstruct
from ..runner import RECORD, Planned, Run, Variant, chunks, differences, run_variants, summarise
from ..tables import Table

SHARE = 0.4  # of the requested number of prompts; only those with an audible source are used
STRATEGY = PerStreamCFG(2.0, 2.0)  # the plain guidance of record of the base, so that variants differ in the plan only


@cache
def _planner() -> VAPlanner:
    return load_planner()


def _events(timeline: Timeline) -> Events:
    """The events of ``timeline`` that are both seen and heard, by kind."""
    found: dict[str, list[float]] = {}
    for event in timeline.events:
        if event.heard and event.seen:
            found.setdefault(event.what, []).append(event.when)
    return {kind: tuple(sorted(times)) for kind, times in found.items()}


def _scene_events(prompts: Sequence[Prompt]) -> list[Events]:
    return [true_events(prompt.scene, stream="video") for prompt in prompts]


def oracle(probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """Features of the prompts' rendered scenes."""
    return Planned(oracle_plan(probes, prompts), _scene_events(prompts))


def shuffled(probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The same features at permuted positions."""
    return Planned(shuffled_plan(probes, prompts), _scene_events(prompts))


def paper(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The planner without a timeline. Its plan states no times, so that the clip is compared with the events of the scene."""
    return Planned(join_plans([_planner().plan(p.text, "", None).streams for p in prompts]), _scene_events(prompts))


def drawn_timeline(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The planner with a timeline that it writes itself, with the prompt's seed."""
    return _planned_timelines(prompts, [_planner().write(p.text, "", seed=p.seed) for p in prompts])


def scene_timeline(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The planner with the timeline of the scene."""
    return _planned_timelines(prompts, [timeline_of(p.scene) for p in prompts])


def moved(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The planner with the timeline of the scene, one event of which is moved as by an artist."""
    return scene_timeline(_probes, [edited(p) for p in prompts])


def _planned_timelines(prompts: Sequence[Prompt], timelines: Sequence[Timeline]) -> Planned:
    streams: list[PlanStreams] = [
        _planner().plan(p.text, "", timeline).streams for p, timeline in zip(prompts, timelines, strict=True)
    ]
    return Planned(join_plans(streams), [_events(timeline) for timeline in timelines])


def edited(prompt: Prompt) -> Prompt:
    """The same caption and noise for a scene with one event moved as by an artist."""
    return replace(prompt, scene=moved_by_hand(prompt.scene, Random(prompt.seed)))


def stays(before: Reading, after: Reading, moved: tuple[Event, Event]) -> bool:
    """Whether an edit changed only the event it moved: every other event of both streams stays within one video frame, none appears or
    disappears, and kinds, colours, places and sides stay the same."""
    for stream in (lambda take: take.heard, lambda take: take.seen.events):
        rest = [_without(stream(take), event) for take, event in zip((before, after), moved, strict=True)]
        if any(len(a) != len(b) for a, b in zip(*rest, strict=True)):
            return False
        if any(len(match(a, b)) < len(a) for a, b in zip(*rest, strict=True)):
            return False
    looks = [
        (
            take.seen.kinds,
            {kind: (take.seen.place(kind), take.seen.colour(kind, take.seen.place(kind))) for kind in take.seen.kinds},
        )
        for take in (before, after)
    ]
    return looks[0] == looks[1] and before.sides == after.sides


def _without(events: Events, event: Event) -> list[list[float]]:
    """Times of each kind, without the time nearest to ``event`` within ``REALISED_SECONDS``."""
    times = {kind: list(events.get(kind, ())) for kind in SOUNDING}
    near = [t for t in times[event.what] if abs(t - event.when) <= REALISED_SECONDS]
    if near:
        times[event.what].remove(min(near, key=lambda t: abs(t - event.when)))
    return list(times.values())


def edit_locality(
    probes: Probes, prompts: Sequence[Prompt], clips: Callable[[Sequence[Prompt]], list[Clip]]
) -> list[float]:
    """1 for each prompt whose clip changes only in the event that is moved, otherwise 0."""
    found: list[float] = []
    for part in chunks(prompts):
        others = [edited(prompt) for prompt in part]
        takes = zip(read(probes, clips(part)), read(probes, clips(others)), strict=True)
        for prompt, other, (before, after) in zip(part, others, takes, strict=True):
            events = [set(timeline_of(p.scene).events) for p in (prompt, other)]
            (removed,), (added,) = events[0] - events[1], events[1] - events[0]
            found.append(float(stays(before, after, (removed, added))))
    return found


def generated(model: PocketModel, probes: Probes, prompts: Sequence[Prompt]) -> list[Clip]:
    """Clips generated with the planner's tokens for the timelines of the scenes."""
    plan = scene_timeline(probes, prompts).streams
    texts, seed = [p.text for p in prompts], prompts[0].seed
    request = Request(texts, seed=seed, **RECORD, strategy=STRATEGY, plan=plan)
    return generate(model, request, batch=len(prompts))


def rendered(model: PocketModel, prompts: Sequence[Prompt]) -> list[Clip]:
    """The rendered scenes after the codecs: the ceiling that probes and codecs allow."""
    return reconstruct(model, [p.scene for p in prompts], ClipShape(seconds=prompts[0].scene.seconds))


def planner_metrics(prompts: Sequence[Prompt]) -> dict[str, Interval]:
    """'valid': whether the timelines that the planner writes at temperatures 1 and 1.5 lie within the clip and can be read back;
    'planner_seconds': time to write and plan one prompt."""
    planner, valid, seconds = _planner(), [], []
    for prompt in prompts:
        start = time.monotonic()
        timeline = planner.write(prompt.text, "", seed=prompt.seed)
        planner.plan(prompt.text, "", timeline)
        seconds.append(time.monotonic() - start)
        for written in (timeline, planner.write(prompt.text, "", seed=prompt.seed, temperature=1.5)):
            within = all(event.when < planner.config.seconds for event in written.events)
            valid.append(float(within and planner.language.read(planner.language.write(written)) == written))
    return {"valid": mean_interval(valid), "planner_seconds": mean_interval(seconds)}


VARIANTS = {
    "none": None,
    "paper": paper,
    "timeline": drawn_timeline,
    "given": scene_timeline,
    "moved": moved,
    "oracle": oracle,
    "shuffled": shuffled,
}


def measure(run: Run) -> Table:
    """Every variant on the same prompts and noise."""
    prompts = bench_prompts(round(SHARE * run.prompts), run.seed, strata=AUDIBLE)
    variants = [Variant(name, STRATEGY, plan=plan) for name, plan in VARIANTS.items()]
    records = run_variants(variants, prompts, run)
    rows = {name: summarise(part) for name, part in records.items()}
    for a, b in (("oracle", "none"), ("timeline", "none"), ("timeline", "paper"), ("oracle", "shuffled")):
        rows[f"{a}-minus-{b}"] = differences(records[a], records[b])
    model, probes = with_condition(load_model(run.model), "plan"), Probes.load()
    for name, clips in (
        ("edit-locality", partial(generated, model, probes)),
        ("edit-locality-ceiling", partial(rendered, model)),
    ):
        found = edit_locality(probes, prompts[::2], clips)
        rows[name] = {"all": {"edit_locality": mean_interval(found)}}
    rows["planner"] = {"all": planner_metrics(prompts)}
    return Table("plan", len(prompts), run.seed, rows, {"guidance": "cfg 2"}, run.model)
