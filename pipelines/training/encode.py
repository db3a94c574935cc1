"""A folder of captioned clips encoded with a model's own encoders into shards: resumable, in memory for one segment at a time."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..cluster.executor import Executor, Processes
from ..core.files import atomic_output
from ..core.streams import Streams
from ..core.timed_events import TimedEvent
from ..media.segments import Segment, SegmentShape, read_segments
from ..models.javisdit.folder import JavisFolder10
from ..models.javisdit.folder01 import JavisFolder01
from ..models.ltx2.file import open_ltx2
from ..models.ltx2.release import LTX2Release
from .negatives import negatives
from .precision import bfloat16_is_fast
from .shards import CLIPS, STREAMS, TEXT, ShardWriter, text_key
from .sidecars import Source, Sources, find_sources
from .timed_captions import stored

MEBIBYTE = 2**20
TIMED_MODELS = ("ltx2",)  # whose captions may state times


@runtime_checkable
class ModelFolder(Protocol):
    """A folder or file with a model's own encoders."""

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


def open_model(name: str, path: Path, text_encoder: Path | None = None) -> ModelFolder:
    """The model ``name`` in the folder or file ``path``. ``text_encoder``: that of a single file of LTX-2.

    Raises:
        ValueError: a text encoder for a model that has its own.
    """
    if name == "ltx2":
        return open_ltx2(path, text_encoder)
    if text_encoder is not None:
        raise ValueError(
            f"--text-encoder is for a single file of ltx2; the folder of {name} holds its own. Leave it out."
        )
    return JavisFolder10(path) if name == JavisFolder10.name else JavisFolder01(path)


def open_encoders(name: str, path: Path, text_encoder: Path | None = None) -> ModelFolder:
    """The model as ``open_model`` finds it, with a text encoder.

    Raises:
        ValueError: there is none, or see ``open_model``.
    """
    model = open_model(name, path, text_encoder)
    if isinstance(model, LTX2Release):
        model.gemma()
    return model


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
    executor: Executor = Processes(),  # noqa: B008 - it is frozen
    on_file: Callable[[], object] = lambda: None,
) -> EncodingReport:
    """Encode the captioned clips of ``folder`` into shards in ``target``, and write ``target/report.json``.

    ``changed``: how often each clip is also stored with both streams changed, which ``duet train javis-prior`` needs. What an earlier run
    stored is not encoded again. The text encoder is released before the codecs are loaded. In this process one segment is in memory;
    other processes hold the segments of a file.

    Raises:
        ValueError: ``folder`` holds no clip that can be used, or ``target`` holds clips encoded with other settings.
    """
    sources, target = find_sources(folder, times=model.name in TIMED_MODELS), Path(target)
    target.mkdir(parents=True, exist_ok=True)
    config = {"model": model.name, "encoders": model.fingerprint(), **vars(shape)}
    config |= {"changed": changed} if changed else {}
    clips = ShardWriter(target, CLIPS, config, shard_bytes)
    texts = ShardWriter(target, TEXT, config, shard_bytes)
    _encode_texts(sources, model, texts, executor)
    run = _Run(clips, shape, EncodingReport(rejected=sources.rejected), on_file)
    work = _Clips(model, shape, changed)
    each = work if executor.here else partial(_listed, work)
    for found in executor.map(each, run.pieces(sources.found), gpu=True):
        run.store(found)
    clips.flush()
    with atomic_output(target / "report.json") as temporary:
        temporary.write_text(json.dumps(vars(run.report), indent=1) + "\n", encoding="utf-8")
    if not run.report.taken:
        raise ValueError(f"None of the clips in {folder} can be used:\n{run.report}")
    return run.report


def _encode_texts(sources: Sources, model: ModelFolder, texts: ShardWriter, executor: Executor) -> None:
    """Store the states of every text that is not stored yet."""
    done = {entry["key"] for entry in texts.contents}
    wanted = {key: text for s in sources.found for text in s.timed.texts if (key := text_key(text)) not in done}
    found = executor.map(_Texts(model), wanted.values(), gpu=True)
    for (key, text), states in zip(wanted.items(), found, strict=True):
        texts.add({f"{key}/{name}": value for name, value in states.items()}, {"key": key, "caption": text})
    texts.flush()


@dataclass(frozen=True, eq=False)
class _Texts:
    """Encodes captions. A worker loads the encoder itself."""

    model: ModelFolder

    def __reduce__(self) -> tuple[Any, ...]:
        return _Texts, (self.model,)

    @cached_property
    def encoder(self) -> Callable[[str], dict[str, Tensor]]:
        return self.model.text(*processor())

    def __call__(self, caption: str) -> dict[str, Tensor]:
        return {name: value.cpu() for name, value in self.encoder(caption).items()}


Piece = tuple[Source, str, int]  # a file, its hash, and how many of its segments are stored already
# The start, the latents and the timed events of a segment, or why the rest of the file is left out.
Found = tuple[float, dict[str, Tensor], list[TimedEvent]] | ValueError


@dataclass(frozen=True, eq=False)
class _Clips:
    """Encodes the segments of a file, one at a time. A worker loads the codecs itself."""

    model: ModelFolder
    shape: SegmentShape
    changed: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _Clips, (self.model, self.shape, self.changed)

    @cached_property
    def codecs(self) -> Callable[[Segment], Streams[Tensor]]:
        return self.model.codecs(*processor())

    def __call__(self, piece: Piece) -> Iterator[Found]:
        source, digest, stored = piece
        try:
            for segment in islice(read_segments(source.video, source.audio, self.shape), stored, None):
                events = source.timed.within(segment, self.shape.sample_rate)
                yield segment.start, self._latents(segment, digest), events
        except ValueError as error:
            yield error

    def _latents(self, segment: Segment, digest: str) -> dict[str, Tensor]:
        """Latents of both streams, and of the changed streams as 'KIND_video' and 'KIND_audio', [n, ...]."""
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
        return {name: z.cpu() for name, z in found.items()}


def _listed(work: _Clips, piece: Piece) -> list[Found]:
    """All segments of a file at once, to send them to another process."""
    return list(work(piece))


class _Run:
    """One pass over the sources."""

    def __init__(
        self, clips: ShardWriter, shape: SegmentShape, report: EncodingReport, on_file: Callable[[], object]
    ) -> None:
        self.clips, self.shape, self.report, self.on_file = clips, shape, report, on_file
        self.pending: deque[tuple[Source, str]] = deque()  # files that are being encoded, and their hashes
        self.stored: dict[str, list[dict[str, Any]]] = {}
        for entry in clips.contents:
            self.stored.setdefault(entry["file"], []).append(entry)

    def pieces(self, sources: Iterable[Source]) -> Iterator[Piece]:
        """What is not stored of ``sources``; what cannot be used of the others is reported."""
        for source in sources:
            digest, before = _digest(source), self.stored.get(source.name, [])
            self.report.taken[source.name] = sum(bool(entry["text"]) for entry in before)
            if any(entry["digest"] != digest for entry in before):
                self._finish(
                    source, ValueError("it has changed since it was encoded; its old segments are still stored")
                )
            elif all(entry["text"] for entry in before):  # the entry that ends a file has none
                self.pending.append((source, digest))
                yield source, digest, self.report.taken[source.name]
            else:
                self._finish(source)

    def store(self, found: Iterable[Found]) -> None:
        """Store the segments of the oldest pending file."""
        source, digest = self.pending.popleft()
        head = {"file": source.name, "digest": digest}
        for item in found:
            if isinstance(item, ValueError):
                self._finish(source, item)
                return
            start, tensors, events = item
            sizes = {part: list(tensors[part].shape) for part in STREAMS}
            entry = {**head, "start": start, "text": text_key(source.caption)}
            if source.timed.timed:
                entry["events"] = stored([replace(event, text=text_key(event.text)) for event in events])
            self.clips.add({f"#/{part}": z for part, z in tensors.items()}, {**entry, **sizes})
            self.report.taken[source.name] += 1
            self.report.encoded += 1
        if self.report.taken[source.name]:
            self.clips.add({}, {**head, "text": ""})
            self._finish(source)
        else:
            short = ValueError(
                f"no part of it without a cut lasts {self.shape.seconds:.3g} s, the length of a segment; choose shorter segments"
            )
            self._finish(source, short)

    def _finish(self, source: Source, reason: ValueError | None = None) -> None:
        """Report a file, and the ``reason`` for which it, or the rest of it, is left out."""
        taken = self.report.taken[source.name]
        if reason:
            self.report.rejected[source.name] = f"after {taken} segments: {reason}" if taken else str(reason)
        if not taken:
            del self.report.taken[source.name]
        self.on_file()


def _digest(source: Source) -> str:
    """A hash of the caption and its times, and of the size and the ends of the media files."""
    times = f"\n{source.timed.events}\n{source.timed.onset}" if source.timed.timed else ""
    digest = hashlib.sha256((source.caption + times).encode())
    for path in dict.fromkeys((source.video, source.audio)):
        size = path.stat().st_size
        with path.open("rb") as stream:
            digest.update(str(size).encode() + stream.read(MEBIBYTE))
            stream.seek(max(0, size - MEBIBYTE))
            digest.update(stream.read())
    return digest.hexdigest()[:24]
