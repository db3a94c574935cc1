"""What a plan is worth: none, Baton's own planner, one with a timeline, the true clip's features, and those misplaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random

from ...guidance import PerStreamCFG
from ...models.planner.load import load_planner
from ...models.planner.planner import VAPlanner
from ...models.planner.targets import oracle_plan, shuffled_plan
from ...plan import PlanStreams, Timeline
from ...planning import joined, timeline_of
from ..bench import Planned, Run, Variant, differences, run_variants, summarise
from ..events import Events, true_events
from ..prompts import AUDIBLE, Prompt, bench_prompts
from ..reading import Probes
from ..tables import Table

SHARE = 0.4  # of the list asked for; what has an audible source in it is used
STRATEGY = PerStreamCFG(2.0, 2.0)  # the base's plain guidance of record, so that what differs is the plan
MOVE = (0.3, 0.8)  # seconds by which one event is moved
EDGE = 0.1  # seconds kept free at both ends


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
    return Planned(joined([_planner().plan(p.text, "", None).streams for p in prompts]), _scenes(prompts))


def drawn(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """A timeline of the planner's own, drawn with the prompt's seed."""
    return _planned(prompts, [_planner().write(p.text, "", seed=p.seed) for p in prompts])


def given(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The planner's tokens for the scene's own timeline."""
    return _planned(prompts, [timeline_of(p.scene) for p in prompts])


def moved(_probes: Probes, prompts: Sequence[Prompt]) -> Planned:
    """The same with one event moved, as an artist would drag it."""
    return _planned(prompts, [edited(p) for p in prompts])


def _planned(prompts: Sequence[Prompt], timelines: Sequence[Timeline]) -> Planned:
    streams: list[PlanStreams] = [
        _planner().plan(p.text, "", timeline).streams for p, timeline in zip(prompts, timelines, strict=True)
    ]
    return Planned(joined(streams), [_events(timeline) for timeline in timelines])


def edited(prompt: Prompt) -> Timeline:
    """The scene's timeline with one event that is seen and heard moved by 0.3 to 0.8 s, either way, within the clip."""
    rng, events = Random(prompt.seed), list(timeline_of(prompt.scene).events)
    whole = [i for i, event in enumerate(events) if event.heard and event.seen]
    if not whole:
        return Timeline.of(events)
    chosen = rng.choice(whole)
    by, sign = rng.uniform(*MOVE), rng.choice((-1, 1))
    last = prompt.scene.seconds - EDGE
    targets = [events[chosen].when + side * by for side in (sign, -sign)]
    inside = [t for t in targets if EDGE <= t <= last]
    when = inside[0] if inside else min(max(targets[0], EDGE), last)
    events[chosen] = replace(events[chosen], when=round(when, 4))
    return Timeline.of(events)


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
    return Table("plan", len(prompts), run.seed, rows, {"guidance": "cfg 2"})
