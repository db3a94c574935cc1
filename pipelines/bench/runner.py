"""The world bench: variants over fixed prompts, their intervals by stratum, and paired differences between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context

import torch

from ..core.conditions import AdapterStreams, BatchPrior, PlanStreams
from ..core.keep import KeepMask
from ..core.sizes import ClipShape
from ..core.statistics import SYNC, Interval, mean_interval, normalised, normalised_difference
from ..guidance.sampling import flow_sigmas
from ..guidance.strategy import Strategy, passes_per_step
from ..models.pocket.add_ons import with_add_on
from ..models.pocket.generate import DEFAULT_STEPS, Request, generate
from ..models.pocket.load import PocketModel
from ..sync.events import Events, f1
from ..world.truth import true_events
from .plan_scores import plan_scores
from .prompts import STRATA, Prompt
from .readings import Probes, read, reconstruct
from .scores import Scores, scores

CHUNK = 20
SECOND_TAKE = 50_000_000  # added to the seed of the takes that measure chance


@dataclass(frozen=True)
class Planned:
    """The plan of some prompts, and the events it stands for."""

    streams: PlanStreams
    events: list[Events]


Planning = Callable[[Probes, Sequence[Prompt]], Planned]
PriorOf = Callable[[Sequence[Prompt]], BatchPrior]
GivenOf = Callable[[PocketModel, Sequence[Prompt]], KeepMask]
AdapterOf = Callable[[KeepMask], AdapterStreams]


@dataclass(frozen=True)
class Variant:
    """One way to sample, under the name of its row."""

    name: str
    strategy: Strategy
    steps: int = DEFAULT_STEPS
    anchored: bool = True  # also measure chance (a second take) and ceiling, which costs more than the clips themselves
    plan: Planning | None = None  # what gives the prompts their plans, for a network with plan layers
    prior: PriorOf | None = None  # the same for priors
    given: GivenOf | None = None  # what the clips begin with, e.g. one stream of the prompts' own clips
    adapter: AdapterOf | None = None  # what an adapter makes of the given, for a network with its layers


@dataclass(frozen=True)
class Run:
    """How much to measure, and how to tell of progress."""

    prompts: int
    seed: int
    jobs: int
    on_chunk: Callable[[int], object] = lambda _: None


Rows = dict[str, dict[str, Interval]]  # stratum -> metric -> value
Record = tuple[Prompt, Scores]


@torch.inference_mode()
def score_chunk(model: PocketModel, probes: Probes, prompts: Sequence[Prompt], variant: Variant) -> list[Record]:
    """Scores of consecutive prompts, whose seeds are consecutive too; synchrony for those with an audible source."""
    shape = ClipShape(fps=model.network.config.fps, sample_rate=model.network.config.sample_rate)
    planned = variant.plan(probes, prompts) if variant.plan else None
    given = variant.given(model, prompts) if variant.given else None
    request = Request(
        [p.text for p in prompts],
        seed=prompts[0].seed,
        steps=variant.steps,
        strategy=variant.strategy,
        plan=planned.streams if planned else None,
        prior=variant.prior(prompts) if variant.prior else None,
        adapter=variant.adapter(given) if variant.adapter and given else None,
        keep=given,
        shape=shape,
    )
    begun = time.monotonic()
    clips = generate(model, request, batch=CHUNK)
    seconds = (time.monotonic() - begun) / len(prompts)
    passes = float(sum(passes_per_step(variant.strategy, s) for s in flow_sigmas(variant.steps).tolist()[:-1]))
    takes = read(probes, clips)
    records = [
        {**scores(p, take), "passes": passes, "seconds": seconds} for p, take in zip(prompts, takes, strict=True)
    ]
    if prompts[0].audible:
        for record, take in zip(records, takes, strict=True):
            record["sync_f1"] = f1(take.heard, take.seen.events)
        events = planned.events if planned else [true_events(p.scene, stream="video") for p in prompts]
        for wanted, record, take in zip(events, records, takes, strict=True):
            record |= plan_scores(wanted, take)
    if prompts[0].audible and variant.anchored:
        # Chance is of clips that share a caption and nothing else: two takes of one plan, prior or stream would agree by it.
        second = replace(request, seed=request.seed + SECOND_TAKE, plan=None, prior=None, adapter=None, keep=None)
        others = read(probes, generate(model, second, batch=CHUNK))
        ideal = read(probes, reconstruct(model, [p.scene for p in prompts], shape))
        for record, take, other, best in zip(records, takes, others, ideal, strict=True):
            record["sync_chance"] = f1(other.heard, take.seen.events)
            record["sync_ceiling"] = f1(best.heard, best.seen.events)
    return list(zip(prompts, records, strict=True))


@torch.inference_mode()
def score_true_chunk(model: PocketModel, probes: Probes, prompts: Sequence[Prompt]) -> list[Record]:
    """The same metrics on the scenes' own clips through the codecs: what the instruments themselves get wrong."""
    takes = read(probes, reconstruct(model, [p.scene for p in prompts], ClipShape()))
    records = [scores(p, take) for p, take in zip(prompts, takes, strict=True)]
    for prompt, record, take in zip(prompts, records, takes, strict=True):
        record |= {"sync_f1": f1(take.heard, take.seen.events)} if prompt.audible else {}
    return list(zip(prompts, records, strict=True))


def chunks(prompts: Sequence[Prompt]) -> Iterator[Sequence[Prompt]]:
    """Runs of prompts of one stratum, at most ``CHUNK`` long."""
    start = 0
    for i in range(1, len(prompts) + 1):
        if i == len(prompts) or i - start == CHUNK or prompts[i].stratum != prompts[start].stratum:
            yield prompts[start:i]
            start = i


def summarise(records: Iterable[Record]) -> Rows:
    """Means with intervals, by stratum; ``sync_normalised`` where chance and ceiling are known."""
    rows, records = {}, list(records)
    for stratum in STRATA:
        part = [scores for prompt, scores in records if stratum in ("all", prompt.stratum)]
        names = dict.fromkeys(name for scores in part for name in scores)
        metrics = {name: mean_interval([s[name] for s in part if name in s]) for name in names}
        columns = _sync_columns(part)
        if columns and metrics["sync_ceiling"].mean > metrics["sync_chance"].mean:
            metrics = {"sync_normalised": normalised(*columns), **metrics}
        if metrics:
            rows[stratum] = metrics
    return rows


def differences(a: Sequence[Record], b: Sequence[Record]) -> Rows:
    """``a`` minus ``b`` on the prompts and metrics that both have, paired."""
    rows, partners = {}, {prompt.seed: scores for prompt, scores in b}
    for stratum in STRATA:
        pairs = [
            (scores, partners[prompt.seed])
            for prompt, scores in a
            if stratum in ("all", prompt.stratum) and prompt.seed in partners
        ]
        names = dict.fromkeys(name for x, y in pairs for name in x if name in y and name not in ("passes", "seconds"))
        metrics = {
            name: mean_interval([x[name] - y[name] for x, y in pairs if name in x and name in y], difference=True)
            for name in names
        }
        columns = [_sync_columns(side) for side in zip(*pairs, strict=True)]
        if columns and all(columns):
            metrics = {"sync_normalised": normalised_difference(*columns), **metrics}
        if metrics:
            rows[stratum] = metrics
    return rows


def _sync_columns(part: Sequence[Scores]) -> list[list[float]]:
    both = [s for s in part if all(name in s for name in SYNC)]
    return [[s[name] for s in both] for name in SYNC] if both else []


Task = tuple[Sequence[Prompt], Variant | None]  # None: the prompts' own clips
_worker: tuple[PocketModel, Probes] | None = None


def _start_worker() -> None:
    global _worker
    torch.set_num_threads(1)
    model = PocketModel.load()
    network = with_add_on(with_add_on(model.network, "plan"), "prior")
    _worker = replace(model, network=network), Probes.load()


def _work(task: Task) -> list[Record]:
    assert _worker is not None
    (model, probes), (prompts, variant) = _worker, task
    if variant is None:
        return score_true_chunk(model, probes, prompts)
    return score_chunk(_adapted() if variant.adapter else model, probes, prompts, variant)


@cache
def _adapted() -> PocketModel:
    """The worker's model with the adapter, whose LoRA would change what the others measure."""
    assert _worker is not None
    return replace(_worker[0], network=with_add_on(_worker[0].network, "adapter"))


def run_tasks(tasks: Sequence[Task], *, jobs: int, on_chunk: Callable[[int], object]) -> Iterator[list[Record]]:
    """Records of each task with the shipped weights, in ``jobs`` processes of one thread each."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        for records in pool.map(_work, tasks):
            on_chunk(len(records))
            yield records


def run_variants(
    variants: Sequence[Variant],
    prompts: Sequence[Prompt],
    *,
    jobs: int = 1,
    on_chunk: Callable[[int], object] = lambda _: None,
) -> dict[str, list[Record]]:
    """Records of every variant on every prompt."""
    tasks: list[Task] = [(part, variant) for variant in variants for part in chunks(prompts)]
    out: dict[str, list[Record]] = {variant.name: [] for variant in variants}
    for (_, variant), records in zip(tasks, run_tasks(tasks, jobs=jobs, on_chunk=on_chunk), strict=True):
        assert variant is not None
        out[variant.name] += records
    return out
