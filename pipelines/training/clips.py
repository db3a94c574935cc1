"""Your own clips as training data: a folder of media files with captions beside them, cut, conformed and encoded once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..bench.fidelity import psnr
from ..bench.readings import Probes
from ..core.files import atomic_output
from ..core.sizes import ClipShape
from ..core.streams import Clip
from ..media.conform import read_conformed
from ..models.pocket.text import UnknownWord
from .data import ClipEncoder
from .plan import plan_features

MEDIA = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".ogv", ".flv", ".wmv")
KNOWN_DECIBELS = 20.0  # PSNR of the codec's reconstruction below which a picture is outside the pocket world


@dataclass
class Report:
    """Result of encoding a folder: segments per file, files left out with the reason, segments that the pocket codec cannot
    reconstruct (PSNR in dB), and words outside the vocabulary with the number of captions they occur in."""

    taken: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    outside: dict[str, float] = field(default_factory=dict)
    unknown: Counter[UnknownWord] = field(default_factory=Counter)

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


def caption_beside(path: Path) -> str:
    """The caption of a media file, from ``NAME.txt`` or from the entry 'caption' of ``NAME.json``.

    Raises:
        ValueError: neither exists, or the one that exists contains no caption.
    """
    text, data = path.with_suffix(".txt"), path.with_suffix(".json")
    try:
        if text.is_file():
            words = text.read_text(encoding="utf-8").strip()
        elif data.is_file():
            words = json.loads(data.read_text(encoding="utf-8"))["caption"].strip()
        else:
            raise ValueError(f"it has no caption; write one into {text.name} or {data.name}")
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its caption cannot be read ({type(error).__name__}: {error})") from error
    if not words:
        raise ValueError(f"its caption in {text.name if text.is_file() else data.name} is empty")
    return words


def segments(clip: Clip, shape: ClipShape) -> list[tuple[Tensor, Tensor]]:
    """Frames [t, 3, h, w] and waveforms [2, samples] of ``shape``'s length, consecutive; an incomplete last segment is dropped."""
    frames, out = clip.frames.permute(0, 3, 1, 2), []
    for start in range(0, len(frames) - shape.frames + 1, shape.frames):
        first = round(start / shape.fps * shape.sample_rate)
        out.append((frames[start : start + shape.frames], clip.waveform[:, first : first + shape.samples]))
    return out


def media_files(folder: Path) -> list[Path]:
    """The media files in ``folder`` and the folders in it, in order.

    Raises:
        ValueError: there are none.
    """
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in MEDIA)
    if not files:
        raise ValueError(f"{folder} holds no media file ({', '.join(MEDIA)}).")
    return files


@torch.inference_mode()
def encode_folder(
    folder: Path,
    target: Path,
    *,
    shape: ClipShape,
    encoder: ClipEncoder,
    probes: Probes,
    on_file: Callable[[], object] = lambda: None,
) -> Report:
    """Encode every clip of ``folder`` into ``target``, which ``duet train --data`` reads: latents, token ids, plan features.

    Raises:
        ValueError: the folder holds no media file, or none that can be used.
    """
    files, report = media_files(folder), Report()
    rows: list[dict[str, Tensor]] = []
    for path in files:
        name = str(path.relative_to(folder))
        try:
            rows += _encode_file(path, name, shape, encoder, probes, report)
        except ValueError as error:
            report.rejected[name] = str(error)
        on_file()
    if not rows:
        raise ValueError(f"None of the {len(files)} files in {folder} can be used:\n{report}")
    with atomic_output(target) as temporary:
        save_file({key: torch.cat([row[key] for row in rows]).contiguous() for key in rows[0]}, temporary)
    return report


def _encode_file(
    path: Path, name: str, shape: ClipShape, encoder: ClipEncoder, probes: Probes, report: Report
) -> list[dict[str, Tensor]]:
    text, (video, audio) = caption_beside(path), encoder.codecs
    report.unknown.update(encoder.tokenizer.unknown(text))
    tokens = encoder.tokenizer.batch([text], as_written=True)
    parts = segments(read_conformed(path, shape), shape)
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
