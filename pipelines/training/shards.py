"""Encoded clips and captions in safetensors files of bounded size ("shards").

Safetensors rather than tar archives: training draws clips at random, and a safetensors file is mapped into memory and read tensor by
tensor, where an archive is read from front to back and unpacked.

A folder holds ``clips-NNNNN.safetensors`` and ``text-NNNNN.safetensors``. Each is written once and renamed when it is complete, so that an
interrupted run continues after the last complete shard.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core.documents import parse_json
from ..core.streams import Streams
from ..core.timed_events import TimedEvent
from ..core.weights import KEY, save_weights
from .timed_captions import restored

KIND = "duet-clips"
CLIPS, TEXT = "clips", "text"
STREAMS = ("video", "audio")


def text_key(caption: str) -> str:
    """The name under which the states of a caption are stored."""
    return hashlib.sha256(caption.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Sample:
    """An encoded segment: its shard and name there, the file and time it comes from, its caption's key, its latent sizes, and its timed
    events, whose texts are keys too."""

    shard: Path
    name: str
    file: str
    start: float
    text: str
    video: tuple[int, ...]
    audio: tuple[int, ...]
    events: tuple[TimedEvent, ...] = ()


class Drawn(NamedTuple):
    """Clips of one shape: their latents, their text states with whatever else is stored with them, and where they come from."""

    latents: Streams[Tensor]
    text: dict[str, Tensor]
    samples: list[Sample]


def shard_paths(folder: Path, prefix: str) -> list[Path]:
    """The complete shards, in order."""
    return sorted(folder.glob(f"{prefix}-?????.safetensors"))


def read_header(path: Path) -> dict[str, Any]:
    """What a shard says about itself: 'config' (the model and the shape of the segments) and 'record' (its contents).

    Raises:
        ValueError: not a shard, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = parse_json((file.metadata() or {}).get(KEY, "null"), path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is not a complete shard ({error}). Delete it, and run 'duet data' again.") from error
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise ValueError(f"{path} is not a shard of encoded clips. Create a folder of them with 'duet data --model'.")
    return header


@dataclass
class ShardWriter:
    """Collects tensors and writes them when they reach ``limit`` bytes. ``config`` is stored in every shard.

    Raises:
        ValueError: the folder holds shards with another ``config``.
    """

    folder: Path
    prefix: str
    config: dict[str, Any]
    limit: int
    contents: list[Any] = field(default_factory=list)  # of the shards already written
    _tensors: dict[str, Tensor] = field(default_factory=dict)
    _entries: list[Any] = field(default_factory=list)
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._number = 0
        for path in shard_paths(self.folder, self.prefix):
            header = read_header(path)
            if header["config"] != self.config:
                raise ValueError(
                    f"{path} was encoded with other settings: {_difference(header['config'], self.config)}. Choose another output folder."
                )
            self.contents += header["record"]["entries"]
            self._number = int(path.stem.rpartition("-")[2]) + 1

    def add(self, tensors: dict[str, Tensor], entry: Any) -> None:
        """Store ``tensors`` and ``entry``, which describes them; a '#' in a name becomes the number of the entry in its shard."""
        halves = {n: z.half() if z.is_floating_point() else z for n, z in tensors.items()}
        size = sum(z.numel() * z.element_size() for z in halves.values())
        if self._entries and self._bytes + size > self.limit:
            self.flush()
        number = f"{len(self._entries):05d}"
        self._tensors |= {name.replace("#", number): value for name, value in halves.items()}
        self._entries.append(entry)
        self._bytes += size

    def flush(self) -> None:
        """Write what is collected."""
        if not self._entries:
            return
        path = self.folder / f"{self.prefix}-{self._number:05d}.safetensors"
        save_weights(path, self._tensors, kind=KIND, config=self.config, record={"entries": self._entries})
        self.contents += self._entries
        self._tensors, self._entries, self._bytes, self._number = {}, [], 0, self._number + 1


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name} is {old.get(name)} there and {new.get(name)} now" for name in names)


@dataclass(frozen=True)
class ClipShards:
    """The encoded clips of a folder, read from its shards when they are drawn."""

    folder: Path
    config: dict[str, Any]
    samples: list[Sample]
    texts: dict[str, Path]

    @classmethod
    def read(cls, folder: Path) -> ClipShards:
        """The clips of ``folder``; only the headers are read.

        Raises:
            ValueError: no clips, a damaged shard, or a text without its states.
        """
        paths = shard_paths(Path(folder), CLIPS)
        headers = [read_header(path) for path in paths]
        samples = [s for path, header in zip(paths, headers, strict=True) for s in _samples(path, header)]
        texts = {e["key"]: p for p in shard_paths(Path(folder), TEXT) for e in read_header(p)["record"]["entries"]}
        keys = {key for sample in samples for key in (sample.text, *(event.text for event in sample.events))}
        if not samples or not keys <= texts.keys():
            raise ValueError(
                f"{folder} holds no complete set of encoded clips. Create it with 'duet data FOLDER --model'."
            )
        return cls(Path(folder), headers[0]["config"], samples, texts)

    @property
    def words(self) -> int:
        """Text tokens of a caption, padding included."""
        key, path = next(iter(self.texts.items()))
        with safe_open(path, framework="pt") as file:
            return file.get_slice(f"{key}/mask").get_shape()[0]

    def check(self, model: str, encoders: str) -> None:
        """Check that the clips were encoded for ``model`` with the encoders of fingerprint ``encoders``, or of one that begins so: that of
        a model in a file ends with its text encoder's, which training does not need.

        Raises:
            ValueError: they were not.
        """
        if self.config["model"] != model or not self.config["encoders"].startswith(encoders):
            raise ValueError(
                f"The clips in {self.folder} were encoded by {self.config['model']} with other VAEs or another text encoder than those in "
                "--model. Encode them again with 'duet data --model'."
            )

    def split(self, share: float) -> tuple[ClipShards, ClipShards]:
        """Clips to train on, and every 1/``share``-th clip for validation; with fewer clips than that, all of them for both."""
        step = round(1 / share)
        held = self.samples[step - 1 :: step]
        kept = [sample for k, sample in enumerate(self.samples, 1) if k % step]
        parts = (kept, held) if held else (self.samples, self.samples)
        return tuple(ClipShards(self.folder, self.config, part, self.texts) for part in parts)  # type: ignore[return-value]

    def draw(self, size: int, generator: torch.Generator) -> Drawn:
        """Latents and text states of ``size`` random clips of one shape, float32; shapes are drawn as often as they occur."""
        shapes = Counter((s.video, s.audio) for s in self.samples)
        drawn = torch.multinomial(torch.tensor([*shapes.values()], dtype=torch.float), 1, generator=generator)
        shape = list(shapes)[int(drawn)]
        alike = [s for s in self.samples if (s.video, s.audio) == shape]
        return self.load([alike[i] for i in torch.randint(len(alike), (size,), generator=generator).tolist()])

    def states(self, key: str) -> dict[str, Tensor]:
        """The stored states of one text: of each stream, [m, width], and the mask of its tokens, [m]."""
        return _tensors(self.texts[key], key)

    def load(self, samples: list[Sample]) -> Drawn:
        """``samples``, which have one shape."""
        rows = [_tensors(s.shard, s.name) for s in samples]
        words = [self.states(s.text) for s in samples]
        latents = Streams(*(torch.stack([row[name] for row in rows]) for name in STREAMS))
        more = [
            word | {name: z for name, z in row.items() if name not in STREAMS}
            for row, word in zip(rows, words, strict=True)
        ]
        return Drawn(latents, {name: torch.stack([row[name] for row in more]) for name in more[0]}, samples)


def _samples(path: Path, header: dict[str, Any]) -> Iterator[Sample]:
    for number, entry in enumerate(header["record"]["entries"]):
        if entry["text"]:
            sizes = {name: tuple(entry[name]) for name in STREAMS}
            try:
                events = restored(entry.get("events", ()))
            except ValueError as error:
                raise ValueError(f"{path}: {error}. Delete it, and run 'duet data' again.") from error
            yield Sample(path, f"{number:05d}", entry["file"], entry["start"], entry["text"], **sizes, events=events)


def _tensors(path: Path, name: str) -> dict[str, Tensor]:
    """The tensors ``name/PART`` of a shard by part, in float32."""
    with safe_open(path, framework="pt") as file:
        parts = [key for key in file.keys() if key.startswith(f"{name}/")]  # noqa: SIM118 - safe_open is not a mapping
        return {key.rpartition("/")[2]: file.get_tensor(key).float() for key in parts}
