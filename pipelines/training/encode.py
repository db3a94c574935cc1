"""A folder of captioned clips encoded with a model's own encoders into shards: resumable, in memory for one segment at a time."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..core.files import atomic_output
from ..core.streams import Streams
from ..media.segments import Segment, SegmentShape, read_segments
from ..models.javisdit.folder import JavisFolder10
from ..models.javisdit.folder01 import JavisFolder01
from ..models.ltx2.folder import LTX2Folder
from .negatives import negatives
from .precision import bfloat16_is_fast
from .shards import CLIPS, STREAMS, TEXT, ShardWriter, text_key
from .sidecars import Source, Sources, find_sources

MEBIBYTE = 2**20


@runtime_checkable
class ModelFolder(Protocol):
    """A folder with a model's own encoders."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def fps(self) -> float: ...

    def shape(self, *, seconds: float, fps: float, width: int, height: int) -> SegmentShape: ...

    def fingerprint(self) -> str: ...

    def text(self, device: torch.device, dtype: torch.dtype) -> Callable[[str], dict[str, Tensor]]: ...

    def codecs(self, device: torch.device, dtype: torch.dtype) -> Callable[[Segment], Streams[Tensor]]: ...


MODELS: dict[str, Callable[[Path], ModelFolder]] = {
    "ltx2": LTX2Folder,
    "javisdit-v1.0": JavisFolder10,
    "javisdit-v0.1": JavisFolder01,
}


def processor() -> tuple[torch.device, torch.dtype]:
    """Where frozen networks run, and their precision: bfloat16 where the processor has it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return device, torch.bfloat16 if bfloat16_is_fast(device.type) else torch.float32


@dataclass
class EncodingReport:
    """Segments stored per file, files or parts of files left out with the reason, and the number of segments encoded in this run."""

    taken: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    encoded: int = 0

    def __str__(self) -> str:
        total = sum(self.taken.values())
        lines = [
            f"{total} segments from {len(self.taken)} files ({self.encoded} encoded now); {len(self.rejected)} files left out"
        ]
        return "\n".join([*lines, *(f"left out: {name}: {reason}" for name, reason in self.rejected.items())])


def encode_clips(
    folder: Path,
    target: Path,
    model: ModelFolder,
    shape: SegmentShape,
    *,
    shard_bytes: int = 512 * MEBIBYTE,
    changed: int = 0,
    on_file: Callable[[], object] = lambda: None,
) -> EncodingReport:
    """Encode the captioned clips of ``folder`` into shards in ``target``, and write ``target/report.json``.

    ``changed``: how often each clip is also stored with both streams changed, which ``duet train javis-prior`` needs. What an earlier run
    stored is not encoded again. The text encoder is released before the codecs are loaded.

    Raises:
        ValueError: ``folder`` holds no clip that can be used, or ``target`` holds clips encoded with other settings.
    """
    sources, target = find_sources(folder), Path(target)
    target.mkdir(parents=True, exist_ok=True)
    config = {"model": model.name, "encoders": model.fingerprint(), **vars(shape)}
    config |= {"changed": changed} if changed else {}
    clips = ShardWriter(target, CLIPS, config, shard_bytes)
    texts = ShardWriter(target, TEXT, config, shard_bytes)
    _encode_texts(sources, model, texts)
    run = _Run(model, shape, clips, EncodingReport(rejected=sources.rejected), changed)
    for source in sources.found:
        run.add(source)
        on_file()
    clips.flush()
    with atomic_output(target / "report.json") as temporary:
        temporary.write_text(json.dumps(vars(run.report), indent=1) + "\n", encoding="utf-8")
    if not run.report.taken:
        raise ValueError(f"None of the clips in {folder} can be used:\n{run.report}")
    return run.report


def _encode_texts(sources: Sources, model: ModelFolder, texts: ShardWriter) -> None:
    """Store the states of every caption that is not stored yet."""
    stored = {entry["key"] for entry in texts.contents}
    wanted = {key: s.caption for s in sources.found if (key := text_key(s.caption)) not in stored}
    if not wanted:
        return
    encoder = model.text(*processor())
    for key, caption in wanted.items():
        texts.add(
            {f"{key}/{name}": value for name, value in encoder(caption).items()}, {"key": key, "caption": caption}
        )
    texts.flush()


class _Run:
    """One pass over the sources."""

    def __init__(
        self, model: ModelFolder, shape: SegmentShape, clips: ShardWriter, report: EncodingReport, changed: int
    ) -> None:
        self.model, self.shape, self.clips, self.report, self.changed = model, shape, clips, report, changed
        self.codecs: Callable[[Segment], Streams[Tensor]] | None = None  # loaded for the first segment
        self.stored: dict[str, list[dict[str, Any]]] = {}
        for entry in clips.contents:
            self.stored.setdefault(entry["file"], []).append(entry)

    def add(self, source: Source) -> None:
        """Encode what is not stored of ``source``, or report why it cannot be used."""
        name, taken, digest = source.name, self.report.taken, _digest(source)
        before = self.stored.get(name, [])
        taken[name] = sum(bool(entry["text"]) for entry in before)
        try:
            if any(entry["digest"] != digest for entry in before):
                raise ValueError("it has changed since it was encoded; its old segments are still stored")
            if all(entry["text"] for entry in before):  # the entry that ends a file has none
                self._encode(source, digest)
        except ValueError as error:
            self.report.rejected[name] = f"after {taken[name]} segments: {error}" if taken[name] else str(error)
        if not taken[name]:
            del taken[name]

    def _encode(self, source: Source, digest: str) -> None:
        segments = read_segments(source.video, source.audio, self.shape)
        for segment in islice(segments, self.report.taken[source.name], None):
            tensors = self._latents(segment, digest)
            sizes = {part: list(tensors[part].shape) for part in STREAMS}
            entry = {"file": source.name, "digest": digest, "start": segment.start, "text": text_key(source.caption)}
            self.clips.add({f"#/{part}": z for part, z in tensors.items()}, {**entry, **sizes})
            self.report.taken[source.name] += 1
            self.report.encoded += 1
        if not self.report.taken[source.name]:
            raise ValueError(
                f"no part of it without a cut lasts {self.shape.seconds:.3g} s, the length of a segment; choose shorter segments"
            )
        self.clips.add({}, {"file": source.name, "digest": digest, "text": ""})

    def _latents(self, segment: Segment, digest: str) -> dict[str, Tensor]:
        """Latents of both streams, and of the changed streams as 'KIND_video' and 'KIND_audio', [n, ...]."""
        self.codecs = self.codecs or self.model.codecs(*processor())
        found = dict(vars(self.codecs(segment)))
        generator = torch.Generator().manual_seed(zlib.crc32(f"{digest} {segment.start:.3f}".encode()))
        others: dict[str, list[Tensor]] = {}
        for _ in range(self.changed):
            for kind, other in negatives(segment, generator).items():
                for stream, latent in vars(self.codecs(other)).items():
                    others.setdefault(f"{kind}_{stream}", []).append(latent)
        found |= {name: torch.stack(latents) for name, latents in others.items()}
        if not all(bool(z.isfinite().all()) for z in found.values()):
            raise ValueError(f"the codecs give values that are not finite at {segment.start:.2f} s")
        return found


def _digest(source: Source) -> str:
    """A hash of the caption, and of the size and the ends of the media files."""
    digest = hashlib.sha256(source.caption.encode())
    for path in dict.fromkeys((source.video, source.audio)):
        size = path.stat().st_size
        with path.open("rb") as stream:
            digest.update(str(size).encode() + stream.read(MEBIBYTE))
            stream.seek(max(0, size - MEBIBYTE))
            digest.update(stream.read())
    return digest.hexdigest()[:24]
