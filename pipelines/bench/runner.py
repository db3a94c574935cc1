"""The world bench: variants over fixed prompts, their intervals by stratum, and paired differences between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial, reduce
from pathlib import Path
from typing import Any

import torch

from ..cluster.executor import Executor, Processes
from ..cluster.kept import kept
from ..core.conditions import AdapterStreams, BatchPrior, PlanStreams
from ..core.keep import KeepMask
from ..core.sizes import ClipShape
from ..core.statistics import SYNC, Interval, mean_interval, normalised, normalised_difference
from ..guidance.sampling import flow_sigmas
from ..guidance.strategy import Strategy, passes_per_step
from ..models.choose import POCKET, load_model, with_condition
from ..models.pocket.generate import Request, generate
from ..models.pocket.load import PocketModel
from ..sync.events import Events, f1
from ..world.truth import true_events
from .plan_scores import plan_scores
from .prompts import STRATA, Prompt
from .readings import Probes, Reading, read, reconstruct
from .scores import Scores, scores

CHUNK = 20  # prompts in a batch
RECORD_STEPS = (
    25  # of ``RECORD_SAMPLER``, in the tables of record, whatever the default of the nodes and the command line is
)
RECORD_SAMPLER = "euler"
RECORD: dict[str, Any] = {"steps": RECORD_STEPS, "sampler": RECORD_SAMPLER}
SECOND_TAKE = 50_000_000  # offset of the seeds of the clips that measure chance


@dataclass(frozen=True)
class Planned:
    """The plans of some prompts, and the events that each plan describes."""

    streams: PlanStreams
    events: list[Events]


PlanFor = Callable[[Probes, Sequence[Prompt]], Planned]
PriorFor = Callable[[Sequence[Prompt]], BatchPrior]
KeepFor = Callable[[PocketModel, Sequence[Prompt]], KeepMask]
AdapterFor = Callable[[KeepMask], AdapterStreams]


@dataclass(frozen=True)
class Variant:
    """One way to generate clips, under the name of its row in the table."""

    name: str
    strategy: Strategy
    steps: int = RECORD_STEPS
    sampler: str = RECORD_SAMPLER
    normalise: bool = True  # also measure chance and ceiling of synchrony, which takes longer than the clips themselves
    plan: PlanFor | None = None  # supplies the plans of prompts, for a network with plan layers
    prior: PriorFor | None = None  # supplies the priors of prompts, for a network with prior layers
    keep: KeepFor | None = None  # supplies what is kept, e.g. one stream of the prompts' rendered clips
    adapter: AdapterFor | None = None  # computes adapter tokens from the kept stream, for a network with adapter layers


@dataclass(frozen=True)
class Run:
    """How much to measure, where, and a callback that receives the number of prompts done."""

    prompts: int
    seed: int
    model: str = POCKET  # of ``MODELS``
    executor: Executor = Processes()  # noqa: RUF009 - it is frozen
    folder: Path | None = None  # keeps the records of finished chunks, so that an interrupted run resumes
    on_chunk: Callable[[int], object] = lambda _: None


Rows = dict[str, dict[str, Interval]]  # stratum -> metric -> value
Record = tuple[Prompt, Scores]


Shared = dict[Hashable, list[Reading]]  # readings of clips that variants of the same prompts have in common


@torch.inference_mode()
def score_chunk(
    model: PocketModel, probes: Probes, prompts: Sequence[Prompt], variant: Variant, *, shared: Shared | None = None
) -> list[Record]:
    """Scores of consecutive prompts of one stratum with consecutive seeds; synchrony only if they have an audible source.

    ``shared``: filled by and for calls with the same prompts and model.
    """
    shape = ClipShape(fps=model.network.config.fps, sample_rate=model.network.config.sample_rate)
    planned = variant.plan(probes, prompts) if variant.plan else None
    keep = variant.keep(model, prompts) if variant.keep else None
    request = Request(
        [p.text for p in prompts],
        seed=prompts[0].seed,
        steps=variant.steps,
        sampler=variant.sampler,
        strategy=variant.strategy,
        plan=planned.streams if planned else None,
        prior=variant.prior(prompts) if variant.prior else None,
        adapter=variant.adapter(keep) if variant.adapter and keep else None,
        keep=keep,
        shape=shape,
    )
    start = time.monotonic()
    clips = generate(model, request, batch=CHUNK)
    seconds = (time.monotonic() - start) / len(prompts)
    passes = float(sum(passes_per_step(variant.strategy, s) for s in flow_sigmas(variant.steps).tolist()[:-1]))
    readings = read(probes, clips)
    records = [{**scores(p, r), "passes": passes, "seconds": seconds} for p, r in zip(prompts, readings, strict=True)]
    if prompts[0].audible:
        events = planned.events if planned else [true_events(p.scene, stream="video") for p in prompts]
        for record, reading, expected in zip(records, readings, events, strict=True):
            record |= {"sync_f1": f1(reading.heard, reading.seen.events), **plan_scores(expected, reading)}
        if variant.normalise:
            scales = _sync_scale(model, probes, prompts, request, readings, {} if shared is None else shared)
            for record, scale in zip(records, scales, strict=True):
                record |= scale
    return list(zip(prompts, records, strict=True))


def _sync_scale(
    model: PocketModel,
    probes: Probes,
    prompts: Sequence[Prompt],
    request: Request,
    readings: Sequence[Reading],
    shared: Shared,
) -> list[Scores]:
    """Chance and ceiling of synchrony for each prompt. Chance pairs the video with audio of a second seed of the same caption,
    without plan, prior or kept stream, which would synchronise the two."""
    second = replace(request, seed=request.seed + SECOND_TAKE, plan=None, prior=None, adapter=None, keep=None)
    guided = second.strategy, second.steps, second.sampler
    if guided not in shared:
        shared[guided] = read(probes, generate(model, second, batch=CHUNK))
    if "true" not in shared:
        shared["true"] = read(probes, reconstruct(model, [p.scene for p in prompts], request.shape))
    return [
        {"sync_chance": f1(o.heard, r.seen.events), "sync_ceiling": f1(i.heard, i.seen.events)}
        for r, o, i in zip(readings, shared[guided], shared["true"], strict=True)
    ]


@torch.inference_mode()
def score_true_chunk(model: PocketModel, probes: Probes, prompts: Sequence[Prompt]) -> list[Record]:
    """The same metrics on the rendered scenes after the codecs: the errors of codecs and probes themselves."""
    readings = read(probes, reconstruct(model, [p.scene for p in prompts], ClipShape()))
    records = [scores(p, reading) for p, reading in zip(prompts, readings, strict=True)]
    for prompt, record, reading in zip(prompts, records, readings, strict=True):
        record |= {"sync_f1": f1(reading.heard, reading.seen.events)} if prompt.audible else {}
    return list(zip(prompts, records, strict=True))


def chunks(prompts: Sequence[Prompt]) -> Iterator[Sequence[Prompt]]:
    """Consecutive prompts of one stratum, at most ``CHUNK`` at a time."""
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


Task = tuple[Sequence[Prompt], Sequence[Variant]]  # no variants: the rendered scenes of the prompts


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within the block torch computes with one thread, so that the seconds of a clip do not depend on the processor's other cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _work(name: str, task: Task) -> list[list[Scores]]:
    """The scores of the prompts of a task with the model ``name``, a list for each of its variants."""
    prompts, variants = task
    # two, because the adapter's LoRA also changes clips without adapter tokens
    shared: tuple[Shared, Shared] = ({}, {})
    rows = []
    with _one_thread():
        if not variants:
            rows.append(score_true_chunk(*_loaded(name), prompts))
        for variant in variants:
            adapted = variant.adapter is not None
            read = {"plan": variant.plan, "prior": variant.prior, "adapter": variant.adapter}
            conditions = tuple(name for name, supply in read.items() if supply is not None)
            model, probes = _with_layers(name, conditions), _loaded(name)[1]
            rows.append(score_chunk(model, probes, prompts, variant, shared=shared[adapted]))
    return [[scores for _, scores in records] for records in rows]


@cache
def _loaded(name: str) -> tuple[PocketModel, Probes]:
    return load_model(name), Probes.load()


@cache
def _with_layers(name: str, conditions: tuple[str, ...]) -> PocketModel:
    """The model ``name`` with the layers that read ``conditions``."""
    model, _ = _loaded(name)
    return reduce(with_condition, conditions, model)


def run_tasks(tasks: Sequence[Task], run: Run) -> Iterator[list[list[Record]]]:
    """Records of each task with the shipped weights of ``run.model``, a list for each of its variants."""
    work = partial(_work, run.model)
    found = kept(run.folder, run.executor, work, tasks) if run.folder else run.executor.map(work, tasks)
    for (prompts, _), rows in zip(tasks, found, strict=True):
        run.on_chunk(sum(map(len, rows)))
        yield [list(zip(prompts, scores, strict=True)) for scores in rows]


def run_variants(variants: Sequence[Variant], prompts: Sequence[Prompt], run: Run) -> dict[str, list[Record]]:
    """Records of every variant on every prompt. All variants of one chunk of prompts are one task, because they share clips."""
    tasks: list[Task] = [(part, variants) for part in chunks(prompts)]
    out: dict[str, list[Record]] = {variant.name: [] for variant in variants}
    for found in run_tasks(tasks, run):
        for variant, records in zip(variants, found, strict=True):
            out[variant.name] += records
    return out


def run_true(prompts: Sequence[Prompt], run: Run) -> list[Record]:
    """The same metrics on the rendered scenes of ``prompts`` after the codecs of ``run.model``."""
    tasks: list[Task] = [(part, ()) for part in chunks(prompts)]
    return [record for (records,) in run_tasks(tasks, run) for record in records]
