"""``duet bench javisbench``: measures of a folder of clips with a list of their prompts, as far as the user's files allow.

Measures that need no weights are computed for every clip; scores of an encoder if the encoder or its embeddings are available;
distances if features of real clips are available. Measures that could not be computed are listed with what they require.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from itertools import chain, islice, repeat
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cluster.executor import Executor, Processes
from ..core.statistics import Interval, mean_interval
from ..core.streams import Clip
from ..core.weights import read_tensors
from ..media.mp4 import read_mp4
from ..media.sound import read_sound
from ..sync.desync import FPS, RATE, DesyncMeter, frames_of_file, mono
from ..sync.distances import MIN_SAMPLES, divergence, frechet, inception_score, kernel_distance
from ..sync.encoders import AGGREGATORS, Encoder, aggregated
from ..sync.measure import measure, read_signals, read_waveform
from ..sync.sound import sound_of
from ..sync.synchformer import SIDE
from .categories import categories_of, members_of
from .tables import Table
from .takes import Numbers, numbers_of

TEXT = "text"  # column of the CSV file that holds the prompts


@dataclass(frozen=True)
class Published:
    """A published distance: the network whose features it is computed from, its formula, and the factor of the published numbers."""

    network: str
    distance: Callable[[Tensor, Tensor], float]
    factor: float = 1.0


# JavisBench multiplies its FAD, on AudioCLIP features, by 10,000. FD and FAD-VGGish are those of AudioLDM (Liu et al., arXiv
# 2301.12503), which papers on audio for video, such as SAVA, report as FD and FAD.
DISTANCES = {
    "FVD": Published("i3d-400", frechet),
    "KVD": Published("i3d-400", kernel_distance),
    "FAD": Published("audioclip", frechet, 10_000.0),
    "FD": Published("panns", frechet),
    "FAD-VGGish": Published("vggish", frechet),
    "KL": Published("passt", divergence),
}
DESYNC, DESYNC_SECONDS = "DeSync", 4  # measured with Synchformer on the first seconds of a clip
INCEPTION = (
    "IS",
    "passt",
)  # name of the inception score, and the network whose class probabilities it is computed from
# Scores that JavisBench or papers on speech report and Duet does not compute.
NOT_COMPUTED = (
    "visual and motion quality: need VideoReward, which Duet does not run",
    "audio quality: needs audiobox-aesthetics, which Duet does not run",
    "WER, LSE-C, LSE-D and other speech scores: need speech recognition or SyncNet, which Duet does not run",
)


@dataclass(frozen=True)
class Sample:
    """A prompt and its clip. ``categories`` holds the indices of its categories for each of JavisBench's aspects."""

    name: str
    text: str
    path: Path
    categories: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Features:
    """Features of the generated and of real clips by one network: [n, d], or class probabilities [n, k]."""

    clips: Tensor
    real: Tensor


def samples_of(table: Path, clips: Path) -> list[Sample]:
    """The rows of a CSV file with a column 'text', each with its clip in ``clips``: sample_0000.mp4, sample_0001.mp4, and so on.

    Raises:
        ValueError: the file has no such column or no rows, or a category does not exist.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} is not a CSV file in UTF-8: {error}.") from error
    if not rows or TEXT not in rows[0]:
        raise ValueError(f"{table} has no column {TEXT!r} with prompts; its first line must name the columns.")
    names = [f"sample_{i:04d}" for i in range(len(rows))]
    return [
        Sample(name, row[TEXT] or "", clips / f"{name}.mp4", categories_of(row, where=f"{table}, row {i}"))
        for i, (name, row) in enumerate(zip(names, rows, strict=True))
    ]


def check_clips(samples: Sequence[Sample]) -> None:
    """Check that every clip exists.

    Raises:
        ValueError: clips are missing.
    """
    missing = [sample.path for sample in samples if not sample.path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(samples)} clips are missing in {missing[0].parent}; the first is {missing[0].name}. Name the clip of "
            "the first row sample_0000.mp4, that of the second sample_0001.mp4, and so on; or generate them with --model."
        )


def wav_beside(path: Path) -> Path | None:
    """The WAV file beside the video at ``path``, whose audio counts instead of the video's own (JavisBench's layout)."""
    beside = path.with_suffix(".wav")
    return beside if beside.is_file() else None


def clip_of(path: Path) -> Clip:
    """The clip at ``path``, with the audio of ``wav_beside``."""
    clip, beside = read_mp4(path), wav_beside(path)
    if beside is None:
        return clip
    waveform, rate = read_sound(beside)
    return replace(clip, waveform=waveform, sample_rate=rate)


def measure_list(
    samples: Sequence[Sample],
    encoders: Sequence[Encoder],
    *,
    features: dict[str, Features] | None = None,
    desync: DesyncMeter | None = None,
    executor: Executor = Processes(),  # noqa: B008 - it is frozen
    on_clip: Callable[[], object] = lambda: None,
) -> Table:
    """Means with intervals over ``samples``, over all and for each category, and the distances of ``features``. The measures without
    weights are computed by ``executor``, the scores of ``encoders`` in this one.

    Raises:
        ValueError: features of the wrong shape; raised before any clip is measured.
    """
    found_distances = distances_by_category(samples, features or {})
    scores: list[dict[str, float]] = []
    for sample, numbers in zip(samples, executor.map(file_numbers, [s.path for s in samples]), strict=True):
        found = dict(numbers)
        load = cache(lambda path=sample.path: clip_of(path))
        for encoder in encoders:
            found |= aggregated(encoder.name, encoder.embed(sample.name, load, sample.text))
        if desync is not None:
            found[DESYNC] = desync_of(desync, sample.path)
        scores.append(found)
        on_clip()
    names = list(dict.fromkeys(name for row in scores for name in row))
    rows = {"clips": {"all": _means(scores, names)}}
    for aspect, members in members_of([sample.categories for sample in samples]).items():
        rows[aspect] = {title: _means([scores[i] for i in indices], names) for title, indices in members.items()}
    notes: dict[str, object] = {"clips": len(samples), **found_distances}
    measured = {*names, *notes}
    notes["not measured"] = "; ".join([*_absent(measured), *NOT_COMPUTED])
    return Table("javisbench", len(samples), 0, rows, notes)


def desync_of(meter: DesyncMeter, path: Path) -> float:
    """JavisBench's DeSync in seconds: of the first 4 s. Shorter clips are padded with black frames and silence."""
    beside = wav_beside(path)
    heard, rate = read_waveform(path) if beside is None else read_sound(beside)
    waveform = torch.zeros(1, 1) if heard is None else mono(heard, rate)[None]
    padded = F.pad(waveform, (0, DESYNC_SECONDS * RATE))[:, : DESYNC_SECONDS * RATE]
    frames = islice(chain(frames_of_file(path), repeat(torch.zeros(3, SIDE, SIDE))), DESYNC_SECONDS * FPS)
    return meter.measure(frames, padded, RATE).desync


def file_numbers(path: Path) -> Numbers:
    """The sync meter's measurements of a clip with the audio that counts (see ``wav_beside``)."""
    signals, beside = read_signals(path), wav_beside(path)
    if beside is not None:
        waveform, rate = read_sound(beside)
        signals = replace(signals, sound=sound_of(waveform, sample_rate=rate))
    return numbers_of(measure(signals))


def _means(scores: Sequence[dict[str, float]], names: Sequence[str]) -> dict[str, Interval]:
    """Means of the measures ``names`` that a clip has, in this order."""
    values = {name: [row[name] for row in scores if name in row] for name in names}
    return {name: mean_interval(found) for name, found in values.items() if found}


def distances_by_category(samples: Sequence[Sample], features: dict[str, Features]) -> dict[str, object]:
    """``distances`` of all samples; and for each aspect those of its categories, of networks with one row of features per sample in both
    sets (as JavisBench selects them)."""
    found: dict[str, object] = dict(distances(features))
    paired = {name: f for name, f in features.items() if len(f.clips) == len(f.real) == len(samples)}
    for aspect, members in members_of([sample.categories for sample in samples]).items():
        table = {
            title: {
                name: float(value)
                for name, value in distances({k: Features(f.clips[i], f.real[i]) for k, f in paired.items()}).items()
            }
            for title, i in members.items()
            if paired and len(i) >= MIN_SAMPLES
        }
        if table:
            found[f"distances by {aspect}"] = table
    return found


def distances(features: dict[str, Features]) -> dict[str, str]:
    """Every distance that ``features`` allow; under its published name if the features are those of the published measure.

    Raises:
        ValueError: features of the wrong shape.
    """
    found = {}
    for name, of in DISTANCES.items():
        if of.network in features:
            found[name] = f"{of.factor * _distance(of.distance, of.network, features):.3f}"
    for network in sorted(set(features) - {of.network for of in DISTANCES.values()}):
        found[f"Frechet distance ({network})"] = f"{_distance(frechet, network, features):.3f}"
        found[f"kernel distance ({network})"] = f"{_distance(kernel_distance, network, features):.3f}"
    if INCEPTION[1] in features:
        found[INCEPTION[0]] = f"{inception_score(features[INCEPTION[1]].clips):.3f}"
    return found


def _distance(distance: Callable[[Tensor, Tensor], float], network: str, features: dict[str, Features]) -> float:
    try:
        return distance(features[network].real, features[network].clips)
    except ValueError as error:
        raise ValueError(f"{network}/real and {network}/clips: {error}") from error


def read_features(path: Path) -> dict[str, Features]:
    """Features by network from a safetensors file with tensors 'NETWORK/clips' and 'NETWORK/real'.

    Raises:
        ValueError: the file has other contents, or scipy is not installed.
    """
    if find_spec("scipy") is None:
        raise ValueError("Distances between features need scipy. Install it: pip install scipy")
    tensors, _ = read_tensors(path)
    networks = {name.rpartition("/")[0] for name in tensors}
    wanted = {f"{network}/{part}" for network in networks for part in ("clips", "real")}
    if not networks or "" in networks or set(tensors) != wanted:
        raise ValueError(
            f"{path} holds {', '.join(sorted(tensors))[:200]}; it must hold pairs of tensors NETWORK/clips and NETWORK/real."
        )
    if any(not torch.isfinite(value).all() for value in tensors.values()):
        raise ValueError(f"{path} holds values that are not finite. Compute the features again.")
    return {network: Features(tensors[f"{network}/clips"], tensors[f"{network}/real"]) for network in sorted(networks)}


def _absent(measured: set[str]) -> list[str]:
    """Published measures that could not be computed, with what they require."""
    rows = [
        f"{name}: embeddings of {encoder}"
        for _, published in AGGREGATORS.values()
        for encoder, name in published.items()
        if name not in measured
    ]
    rows += [f"{name}: features of {of.network}" for name, of in DISTANCES.items() if name not in measured]
    rows += [] if DESYNC in measured else [f"{DESYNC}: weights of Synchformer"]
    return [*rows, *([f"{INCEPTION[0]}: features of {INCEPTION[1]}"] if INCEPTION[0] not in measured else [])]
