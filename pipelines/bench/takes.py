"""Sweeps: clips of many seeds, ranked by the agreement of audio and video. Finished takes are stored, so that an interrupted sweep
resumes."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
from torch import Tensor

from ..core.documents import parse_json, printable, read_text
from ..core.files import atomic_output
from ..core.schema import Between, checked
from ..core.statistics import mean_interval
from ..core.streams import Clip
from ..core.timed_events import TimedEvents
from ..core.weights import read_tensors, save_tensors
from ..media.mp4 import read_mp4
from ..sync.events import f1
from ..sync.measure import Measured, measure, read_signals, signals_of
from .plan_report import report_of
from .readings import Probes, as_rendered, read

log = logging.getLogger(__name__)
ANY, EVENTS = "sound and motion in step (any clip)", "events heard and seen (pocket world)"
PLANNED = "events at the planned times (needs a plan)"
SCORES = (ANY, EVENTS, PLANNED)
MAX_SEEDS = 1000  # of one sweep

Numbers = dict[str, Annotated[float, Between(-1e9, 1e9)]]
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Take:
    """The measurements of one seed's clip; takes are ranked by ``score``, higher is better."""

    seed: Annotated[int, Between(0, 2**64 - 1)]
    score: Annotated[float, Between(-1e9, 1e9)]
    numbers: Numbers


Generate = Callable[[int], tuple[Take, Tensors]]  # makes and measures the take of a seed


@dataclass(frozen=True)
class Takes:
    """The takes of one setting, best first, and the label of the setting in comparisons."""

    label: str
    takes: tuple[Take, ...]

    def __str__(self) -> str:
        scores = [take.score for take in self.takes]
        best = self.takes[0]
        return (
            f"{self.label}: {len(scores)} take(s), mean {fmean(scores):.2f}, best {best.score:.2f} (seed {best.seed})"
        )


def numbers_of(measured: Measured) -> Numbers:
    """The sync meter's measurements as numbers; those that could not be determined are left out."""
    agreement, sound = measured.agreement, measured.loudness
    found = {
        "in_step": measured.in_step,
        "offset_ms": None if agreement.offset is None else 1000 * agreement.offset,
        "strength": agreement.strength,
        "p": agreement.p,
        "av_align_code": measured.av_align_code,
        "lufs": None if sound is None else sound.lufs,
        "silent": None if sound is None else sound.silent,
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def take_of(
    seed: int,
    clip: Clip,
    score: str,
    probes: Probes | None,
    events: TimedEvents | None = None,
    world: bool | None = None,
) -> Take:
    """The measurements of ``clip``; ``probes`` are only used for the score ``EVENTS``, and for ``PLANNED``, which needs ``events``, if the
    clip is of the pocket ``world`` (None: if it looks like it).

    Raises:
        ValueError: an unknown score, or ``PLANNED`` without events.
    """
    if score not in SCORES:
        raise ValueError(f"score is {score!r}; it must be one of: {'; '.join(SCORES)}.")
    numbers = numbers_of(measure(signals_of(clip)))
    if score == EVENTS:
        (reading,) = read(probes or Probes.load(), [as_rendered(clip)])
        numbers["event_f1"] = f1(reading.heard, reading.seen.events)
    if score == PLANNED:
        if events is None or not events.events:
            raise ValueError(f"The score '{PLANNED}' compares a clip with a plan, and there is none. Connect one.")
        report = report_of(clip, events, world=world, probes=probes)
        off = {} if report.off_ms is None else {"plan_off_ms": report.off_ms}
        return Take(seed, report.hit_rate, {**numbers, "plan_hits": report.hit_rate, **off})
    return Take(seed, numbers["event_f1"] if score == EVENTS else numbers.get("in_step", 0.0), numbers)


def take_of_file(seed: int, path: Path, score: str, events: TimedEvents | None = None) -> Take:
    """The measurements of a clip in a file, see ``take_of``. For the score ``ANY`` frames are not held in memory.

    Raises:
        ValueError: not a readable clip; see also ``take_of``.
    """
    if score != ANY:
        return take_of(seed, read_mp4(path), score, None, events)
    numbers = numbers_of(measure(read_signals(path)))
    return Take(seed, numbers.get("in_step", 0.0), numbers)


def rank(takes: Iterable[Take]) -> list[Take]:
    """Takes by falling score; equal scores by rising seed."""
    return sorted(takes, key=lambda take: (-take.score, take.seed))


def fingerprint(*parts: Any) -> str:
    """A short hash of everything that determines the takes of a sweep: plain data (in any order of dictionary keys) and tensors."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(repr((tuple(part.shape), str(part.dtype))).encode())
            whole = part.detach().cpu()
            digest.update((whole if whole.dtype == torch.uint8 else whole.float()).contiguous().numpy().data)
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def sweep(
    folder: Path,
    seeds: Sequence[int],
    generate: Generate,
    *,
    keep: int,
    on_take: Callable[[Take], object] = lambda _: None,
    each: Callable[[Generate, Iterable[int]], Iterator[tuple[Take, Tensors]]] = map,
) -> list[tuple[Take, Tensors]]:
    """The best ``keep`` takes of ``seeds`` with their tensors, best first. ``folder`` stores the measurements of every finished take
    and the tensors of the best ones, so that an interrupted sweep resumes. ``each`` calls ``generate`` for seeds; an executor's ``map``
    does so in other processes.

    Raises:
        ValueError: the number of seeds is not from 1 to ``MAX_SEEDS``, or ``keep`` is below 1.
    """
    if not 1 <= len(seeds) <= MAX_SEEDS:
        raise ValueError(f"The number of seeds is {len(seeds)}; it must be from 1 to {MAX_SEEDS}.")
    if keep < 1:
        raise ValueError(f"keep is {keep}; it must be at least 1.")
    folder.mkdir(parents=True, exist_ok=True)
    done = [take for seed in seeds if (take := read_take(folder, seed)) is not None]
    for take in done:
        on_take(take)
    known = {take.seed for take in done}
    for finished, tensors in each(generate, [seed for seed in seeds if seed not in known]):
        _store_take(folder, finished, tensors)
        done.append(finished)
        for dropped in rank(done)[keep:]:
            _tensors_path(folder, dropped.seed).unlink(missing_ok=True)
        on_take(finished)
    return [(take, _tensors_of_take(folder, take, generate)) for take in rank(done)[:keep]]


def takes_of(folder: Path, seeds: Sequence[int], label: str) -> Takes:
    """All finished takes of ``seeds`` in ``folder``."""
    done = (take for seed in seeds if (take := read_take(folder, seed)) is not None)
    return Takes(label, tuple(rank(done)))


def _numbers_path(folder: Path, seed: int) -> Path:
    return folder / f"take-{seed}.json"


def _tensors_path(folder: Path, seed: int) -> Path:
    return folder / f"take-{seed}.safetensors"


def _store_take(folder: Path, take: Take, tensors: Tensors) -> None:
    save_tensors(_tensors_path(folder, take.seed), tensors)
    store_numbers(folder, take)


def store_numbers(folder: Path, take: Take) -> None:
    """Store the measurements of a finished take in ``folder``."""
    with atomic_output(_numbers_path(folder, take.seed)) as temporary:
        temporary.write_text(json.dumps(asdict(take), indent=1) + "\n", encoding="utf-8")


def read_take(folder: Path, seed: int) -> Take | None:
    """The stored measurements of a seed; None if there are none, or the file is damaged, which is logged."""
    path = _numbers_path(folder, seed)
    try:
        found = checked(Take, parse_json(read_text(path), path), source=path) if path.is_file() else None
    except ValueError as error:  # a foreign or truncated file
        log.warning("Take %d is generated again: %s", seed, printable(error))
        return None
    return found if found is not None and found.seed == seed else None


def _tensors_of_take(folder: Path, take: Take, generate: Generate) -> Tensors:
    """The tensors of a stored take; they are generated again if an earlier sweep kept fewer takes."""
    path = _tensors_path(folder, take.seed)
    try:
        return read_tensors(path)[0]
    except ValueError as error:
        if path.is_file():
            log.warning("Take %d is generated again: %s", take.seed, printable(error))
        _store_take(folder, *generate(take.seed))
    return read_tensors(path)[0]


def write_csv(path: Path, settings: Sequence[Takes]) -> None:
    """One row for each take: setting, rank, seed, score and all measurements."""
    names = list(dict.fromkeys(name for each in settings for take in each.takes for name in take.numbers))
    with atomic_output(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["setting", "rank", "seed", "score", *names])
        for each in settings:
            for rank, take in enumerate(each.takes, 1):
                numbers = [f"{take.numbers[name]:.6g}" if name in take.numbers else "" for name in names]
                rows.writerow([each.label, rank, take.seed, f"{take.score:.6g}", *numbers])


def compare(settings: Sequence[Takes]) -> str:
    """A text that compares settings: the mean of each with its interval, and its difference from the first on the seeds they share.

    Raises:
        ValueError: ``settings`` is empty.
    """
    if not settings:
        raise ValueError("There is nothing to compare. Connect at least one clip or sweep.")
    lines, first = [], {take.seed: take.score for take in settings[0].takes}
    for each in settings:
        mean = mean_interval([take.score for take in each.takes])
        line = str(each)
        if mean.n > 1:
            line += f", 95 % [{mean.low:.2f}, {mean.high:.2f}]"
        shared = [take.score - first[take.seed] for take in each.takes if take.seed in first]
        if each is not settings[0] and len(shared) > 1:
            gap = mean_interval(shared, difference=True)
            line += (
                f"; minus {settings[0].label} {gap.mean:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}] on {gap.n} shared seeds"
            )
        lines.append(line)
    return "\n".join(lines)
