"""What a plan is worth: none, Baton's own planner, one with a timeline, the true clip's features, and those misplaced."""

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
from ...models.planner.load import load_planner
from ...models.planner.planner import VAPlanner
from ...models.planner.request import join_plans
from ...models.pocket.add_ons import with_add_on
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
from ..runner import Planned, Run, Variant, chunks, differences, run_variants, summarise
from ..tables import Table

SHARE = 0.4  # of the list asked for; what has an audible source in it is used
STRATEGY = PerStreamCFG(2.0, 2.0)  # the base's plain guidance of record, so that what differs is the plan


@cache
def _planner() -> VAPlanner:
    return load_planner()


def _events(timeline: Timeline) -> Events:
    """What is to be seen and heard at once."""
    found: dict[str, list[float]] = {}
    for event in timeline.events:
        if event.heard and event.seen:
            found.setdefault(event.what, []).append(event.when)
    return {kind: tuple(sorted(times)) for kind, times in found.items()}


def _scenes(prompts: Sequence[Prompt]) -> list[Events]:
    return [true_events(prompt.scene, stream="video") for prompt in prompts]


def oracle(probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """Features of the prompts' own clips."""
    return Planned(oracle_plan(probes, prompts), _scenes(prompts))


def shuffled(probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The same at each other's places."""
    return Planned(shuffled_plan(probes, prompts), _scenes(prompts))


def paper(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The planner without a timeline. It plans no times, so that the scene's are asked of it."""
    return Planned(join_plans([_planner().plan(p.text, "", None).streams for p in prompts]), _scenes(prompts))


def drawn(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """A timeline of the planner's own, drawn with the prompt's seed."""
    return _planned(prompts, [_planner().write(p.text, "", seed=p.seed) for p in prompts])


def given(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The planner's tokens for the scene's own timeline."""
    return _planned(prompts, [timeline_of(p.scene) for p in prompts])


def moved(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The same with one event moved, as an artist would drag it."""
    return given(_probes, [edited(p) for p in prompts])


def _planned(prompts: Sequence[Prompt], timelines: Sequence[Timeline]) -> Planned:
    streams: list[PlanStreams] = [
        _planner().plan(p.text, "", timeline).streams for p, timeline in zip(prompts, timelines, strict=True)
    ]
    return Planned(join_plans(streams), [_events(timeline) for timeline in timelines])


def edited(prompt: Prompt) -> Prompt:
    """The same words and noise for a scene with one event moved, as an artist would drag it."""
    return replace(prompt, scene=moved_by_hand(prompt.scene, Random(prompt.seed)))


def stays(before: Reading, after: Reading, moved: tuple[Event, Event]) -> bool:
    """Whether an edit left the rest alone: every other event of either stream within one video frame of where it was, none
    gone or new, and the same things in the same colours, places and sides."""
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
    """Times of each kind, without the one that is nearest to ``event`` and within reach of it."""
    times = {kind: list(events.get(kind, ())) for kind in SOUNDING}
    near = [t for t in times[event.what] if abs(t - event.when) <= REALISED_SECONDS]
    if near:
        times[event.what].remove(min(near, key=lambda t: abs(t - event.when)))
    return list(times.values())


def edit_locality(
    probes: Probes, prompts: Sequence[Prompt], clips: Callable[[Sequence[Prompt]], list[Clip]]
) -> list[float]:
    """1 for each prompt whose clip keeps everything but the one event that is moved."""
    found: list[float] = []
    for part in chunks(prompts):
        others = [edited(prompt) for prompt in part]
        takes = zip(read(probes, clips(part)), read(probes, clips(others)), strict=True)
        for prompt, other, (before, after) in zip(part, others, takes, strict=True):
            events = [set(timeline_of(p.scene).events) for p in (prompt, other)]
            (left,), (came,) = events[0] - events[1], events[1] - events[0]
            found.append(float(stays(before, after, (left, came))))
    return found


def generated(model: PocketModel, probes: Probes, prompts: Sequence[Prompt]) -> list[Clip]:
    """Clips of the planner's tokens for the scenes' timelines, from the prompts' noise."""
    plan = given(probes, prompts).streams
    request = Request([p.text for p in prompts], seed=prompts[0].seed, strategy=STRATEGY, plan=plan)
    return generate(model, request, batch=len(prompts))


def rendered(model: PocketModel, prompts: Sequence[Prompt]) -> list[Clip]:
    """The scenes themselves through the codecs: what the instruments allow."""
    return reconstruct(model, [p.scene for p in prompts], ClipShape(seconds=prompts[0].scene.seconds))


def planner_itself(prompts: Sequence[Prompt]) -> dict[str, Interval]:
    """'valid': whether what the planner writes, at temperature 1 and at 1.5, is a timeline of its clip that it can plan;
    'planner_seconds': writing and planning one prompt."""
    planner, valid, seconds = _planner(), [], []
    for prompt in prompts:
        begun = time.monotonic()
        timeline = planner.write(prompt.text, "", seed=prompt.seed)
        planner.plan(prompt.text, "", timeline)
        seconds.append(time.monotonic() - begun)
        for written in (timeline, planner.write(prompt.text, "", seed=prompt.seed, temperature=1.5)):
            within = all(event.when < planner.config.seconds for event in written.events)
            valid.append(float(within and planner.language.read(planner.language.write(written)) == written))
    return {"valid": mean_interval(valid), "planner_seconds": mean_interval(seconds)}


VARIANTS = {
    "none": None,
    "paper": paper,
    "timeline": drawn,
    "given": given,
    "moved": moved,
    "oracle": oracle,
    "shuffled": shuffled,
}


def measure(run: Run) -> Table:
    """Every variant on the same prompts and noises."""
    prompts = bench_prompts(round(SHARE * run.prompts), run.seed, strata=AUDIBLE)
    variants = [Variant(name, STRATEGY, plan=plan) for name, plan in VARIANTS.items()]
    records = run_variants(variants, prompts, jobs=run.jobs, on_chunk=run.on_chunk)
    rows = {name: summarise(part) for name, part in records.items()}
    for a, b in (("oracle", "none"), ("timeline", "none"), ("timeline", "paper"), ("oracle", "shuffled")):
        rows[f"{a}-minus-{b}"] = differences(records[a], records[b])
    model, probes = PocketModel.load(), Probes.load()
    model = replace(model, network=with_add_on(model.network, "plan"))
    for name, clips in (
        ("edit-locality", partial(generated, model, probes)),
        ("edit-locality-ceiling", partial(rendered, model)),
    ):
        found = edit_locality(probes, prompts[::2], clips)
        rows[name] = {"all": {"edit_locality": mean_interval(found)}}
    rows["planner"] = {"all": planner_itself(prompts)}
    return Table("plan", len(prompts), run.seed, rows, {"guidance": "cfg 2"})
