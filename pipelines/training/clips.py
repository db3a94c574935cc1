"""Your own clips as training data: a folder of media files with captions beside them, cut, conformed and encoded once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bench.fidelity import psnr
from ..bench.readings import Probes
from ..cluster.executor import Executor, Processes
from ..core.sizes import ClipShape
from ..core.streams import Clip
from ..core.weights import save_tensors
from ..media.conform import read_conformed
from ..models.pocket.text import UnknownWord
from .data import ClipEncoder, load_encoder
from .plan import plan_features
from .sidecars import Source, find_sources

KNOWN_DECIBELS = 20.0  # PSNR of the codec's reconstruction below which a picture is outside the pocket world


@dataclass
class Report:
    """Result of encoding a folder: segments per file, files left out with the reason, segments that the pocket codec cannot
    reconstruct (PSNR in dB), and words outside the vocabulary with the number of captions they occur in."""

    taken: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    outside: dict[str, float] = field(default_factory=dict)
    unknown: Counter[UnknownWord] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        """Include the report of another file."""
        self.taken |= other.taken
        self.rejected |= other.rejected
        self.outside |= other.outside
        self.unknown.update(other.unknown)

    def to_json(self) -> dict[str, Any]:
        unknown = {w.word: {"captions": n, "nearest": list(w.nearest)} for w, n in self.unknown.most_common()}
        return {**vars(self), "unknown": unknown}

    def __str__(self) -> str:
        lines = [
            f"{sum(self.taken.values())} segments from {len(self.taken)} files; {len(self.rejected)} files left out"
        ]
        lines += [f"left out: {name}: {reason}" for name, reason in self.rejected.items()]
        lines += [
            f"outside the pocket world: {name}: the codec reconstructs it with {value:.1f} dB PSNR, below {KNOWN_DECIBELS:g}"
            for name, value in self.outside.items()
        ]
        if self.unknown:
            lines.append("unknown words, all encoded as the same token; replace them, or leave out their clips:")
            lines += [f"  in {count} caption(s): {word}" for word, count in self.unknown.most_common()]
        return "\n".join(lines)


def segments(clip: Clip, shape: ClipShape) -> list[tuple[Tensor, Tensor]]:
    """Frames [t, 3, h, w] and waveforms [2, samples] of ``shape``'s length, consecutive; an incomplete last segment is dropped."""
    frames, out = clip.frames.permute(0, 3, 1, 2), []
    for start in range(0, len(frames) - shape.frames + 1, shape.frames):
        first = round(start / shape.fps * shape.sample_rate)
        out.append((frames[start : start + shape.frames], clip.waveform[:, first : first + shape.samples]))
    return out


@dataclass(frozen=True, eq=False)
class _Files:
    """Encodes files. A worker loads the codecs and the probes itself."""

    shape: ClipShape

    def __reduce__(self) -> tuple[Any, ...]:
        return _Files, (self.shape,)

    @cached_property
    def encoder(self) -> ClipEncoder:
        return load_encoder()

    @cached_property
    def probes(self) -> Probes:
        return Probes.load()

    @torch.inference_mode()
    def __call__(self, source: Source) -> tuple[list[dict[str, Tensor]], Report]:
        """A row for each segment of a file, and the report of this file."""
        report = Report()
        try:
            return _encode_file(source, self.shape, self.encoder, self.probes, report), report
        except ValueError as error:
            report.rejected[source.name] = str(error)
            return [], report


def encode_folder(
    folder: Path,
    target: Path,
    *,
    shape: ClipShape,
    executor: Executor = Processes(),  # noqa: B008 - it is frozen
    on_file: Callable[[], object] = lambda: None,
) -> Report:
    """Encode every clip of ``folder`` into ``target``, which ``duet train --data`` reads: latents, token ids, plan features.

    Raises:
        ValueError: the folder holds no media file, or none that can be used.
    """
    sources = find_sources(folder)
    report = Report(rejected=sources.rejected)
    rows: list[dict[str, Tensor]] = []
    for found, of_file in executor.map(_Files(shape), sources.found):
        rows += found
        report.add(of_file)
        on_file()
    if not rows:
        first = next(iter(report.rejected.items()))
        raise ValueError(
            f"None of the {len(report.rejected)} files in {folder} can be used. The first, {first[0]}: {first[1]}."
        )
    save_tensors(target, {key: torch.cat([row[key] for row in rows]) for key in rows[0]})
    return report


def _encode_file(
    source: Source, shape: ClipShape, encoder: ClipEncoder, probes: Probes, report: Report
) -> list[dict[str, Tensor]]:
    if source.audio != source.video:
        raise ValueError(
            "its audio is in another file, which the pocket model's clips cannot use; put both into one file"
        )
    text, name, (video, audio) = source.caption, source.name, encoder.codecs
    report.unknown.update(encoder.tokenizer.unknown(text))
    tokens = encoder.tokenizer.batch([text], as_written=True)
    parts = segments(read_conformed(source.video, shape), shape)
    if not parts:
        raise ValueError(f"it is shorter than one segment of {shape.duration:g} s")
    rows = []
    for k, (frames, waveform) in enumerate(parts):
        latent = video.encode(frames[None])
        quality = psnr(video.decode(latent), frames[None])
        if quality < KNOWN_DECIBELS:
            report.outside[f"{name} segment {k}"] = round(quality, 1)
        row = {"video": latent.half(), "audio": audio.encode(waveform[None]).half(), "tokens": tokens[None].short()}
        rows.append({**row, **plan_features(probes, frames[None], waveform[None])})
    report.taken[name] = len(parts)
    return rows
