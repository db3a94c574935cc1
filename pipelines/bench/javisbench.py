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
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ..core.statistics import mean_interval
from ..core.streams import Clip
from ..core.weights import read_tensors
from ..media.mp4 import read_mp4
from ..media.sound import read_sound
from ..sync.distances import divergence, frechet, inception_score, kernel_distance
from ..sync.encoders import AGGREGATORS, Encoder, aggregated
from ..sync.measure import Signals, measure, read_signals
from .tables import Table
from .takes import numbers_of

TEXT = "text"  # column of the CSV file that holds the prompts
# Published measure -> the network whose features it is computed from, and the distance between them.
DISTANCES = {
    "FVD": ("i3d-400", frechet),
    "KVD": ("i3d-400", kernel_distance),
    "FAD": ("audioclip", frechet),
    "KL": ("passt", divergence),
}
INCEPTION = (
    "IS",
    "passt",
)  # name of the inception score, and the network whose class probabilities it is computed from


@dataclass(frozen=True)
class Sample:
    """A prompt and its clip."""

    name: str
    text: str
    path: Path


@dataclass(frozen=True)
class Features:
    """Features of the generated and of real clips by one network: [n, d], or class probabilities [n, k]."""

    clips: Tensor
    real: Tensor


def samples_of(table: Path, clips: Path) -> list[Sample]:
    """The rows of a CSV file with a column 'text', each with its clip in ``clips``: sample_0000.mp4, sample_0001.mp4, and so on.

    Raises:
        ValueError: the file has no such column or no rows, or clips are missing.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} is not a CSV file in UTF-8: {error}.") from error
    if not rows or TEXT not in rows[0]:
        raise ValueError(f"{table} has no column {TEXT!r} with prompts; its first line must name the columns.")
    samples = [Sample(f"sample_{i:04d}", row[TEXT] or "", clips / f"sample_{i:04d}.mp4") for i, row in enumerate(rows)]
    missing = [sample.path.name for sample in samples if not sample.path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(samples)} clips are missing in {clips}; the first is {missing[0]}. Name the clip of the first row "
            "sample_0000.mp4, that of the second sample_0001.mp4, and so on."
        )
    return samples


T = TypeVar("T", Signals, Clip)


def with_wav(media: T, path: Path) -> T:
    """``media`` of the video at ``path``; if it has no audio, with the audio of the WAV file beside the video (JavisBench's layout)."""
    beside = path.with_suffix(".wav")
    if (media.waveform is not None and media.waveform.shape[1]) or not beside.is_file():
        return media
    waveform, rate = read_sound(beside)
    return replace(media, waveform=waveform, sample_rate=rate)


def measure_list(
    samples: Sequence[Sample],
    encoders: Sequence[Encoder],
    *,
    features: dict[str, Features] | None = None,
    on_clip: Callable[[], object] = lambda: None,
) -> Table:
    """Means with intervals over ``samples``, and the distances of ``features``."""
    scores: list[dict[str, float]] = []
    for sample in samples:
        found = numbers_of(measure(with_wav(read_signals(sample.path), sample.path)))
        load = cache(lambda path=sample.path: with_wav(read_mp4(path), path))
        for encoder in encoders:
            found |= aggregated(encoder.name, encoder.embed(sample.name, load, sample.text))
        scores.append(found)
        on_clip()
    names = dict.fromkeys(name for row in scores for name in row)
    means = {name: mean_interval([row[name] for row in scores if name in row]) for name in names}
    notes: dict[str, object] = {"clips": len(samples), **distances(features or {})}
    notes["not measured"] = "; ".join(_absent(set(names) | set(notes))) or "nothing"
    return Table("javisbench", len(samples), 0, {"clips": {"all": means}}, notes)


def distances(features: dict[str, Features]) -> dict[str, str]:
    """Every distance that ``features`` allow; under its published name if the features are those of the published measure."""
    found = {}
    for name, (network, distance) in DISTANCES.items():
        if network in features:
            found[name] = f"{distance(features[network].real, features[network].clips):.3f}"
    for network in sorted(set(features) - {network for network, _ in DISTANCES.values()}):
        part = features[network]
        found[f"Frechet distance ({network})"] = f"{frechet(part.real, part.clips):.3f}"
        found[f"kernel distance ({network})"] = f"{kernel_distance(part.real, part.clips):.3f}"
    if INCEPTION[1] in features:
        found[INCEPTION[0]] = f"{inception_score(features[INCEPTION[1]].clips):.3f}"
    return found


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
    rows += [f"{name}: features of {network}" for name, (network, _) in DISTANCES.items() if name not in measured]
    return [*rows, *([f"{INCEPTION[0]}: features of {INCEPTION[1]}"] if INCEPTION[0] not in measured else [])]
