"""Work for the tests of executors, in a module that worker processes can import."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from duet_av.pipelines.cluster.executor import Executor


@dataclass(frozen=True)
class Notes:
    """Files in ``folder`` that say what workers did. The worker of a ``doomed`` piece is killed at its first try."""

    folder: Path
    doomed: tuple[int, ...] = ()

    def note(self, what: str) -> bool:
        """Leave a file; whether there was none of this ``what`` before."""
        first = not list(self.folder.glob(f"{what}.*"))
        (self.folder / f"{what}.{os.getpid()}-{time.monotonic_ns()}").touch()
        return first

    def begin(self, piece: int) -> None:
        """Note the start of a piece, and die if it is doomed."""
        if self.note(f"start-{piece}") and piece in self.doomed:
            os.kill(os.getpid(), signal.SIGKILL)

    def counts(self, what: str, pieces: int) -> list[int]:
        """How often each piece was started or ended."""
        return [len(list(self.folder.glob(f"{what}-{piece}.*"))) for piece in range(pieces)]


@dataclass(frozen=True)
class Work(Notes):
    """Squares numbers and notes every load, start and end. The worker of a ``cursed`` piece is killed at every try; the piece 13 is
    refused if ``strict``."""

    cursed: tuple[int, ...] = ()
    strict: bool = False
    seconds: float = 0.0

    @cached_property
    def power(self) -> int:
        """What a real worker would load."""
        self.note("loaded")
        return 2

    def __call__(self, piece: int) -> int:
        """The square of ``piece``."""
        self.begin(piece)
        if piece in self.cursed:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.strict and piece == 13:
            raise ValueError("The piece 13 is not wanted. Leave it out.")
        time.sleep(self.seconds)
        value = piece**self.power
        self.note(f"end-{piece}")
        return value


@dataclass(frozen=True)
class Noted(Notes):
    """Another function of numbered pieces, with notes of every start and end."""

    function: Callable[[Any], Any] = str

    def __call__(self, numbered: tuple[int, Any]) -> Any:
        """The function's result for a piece."""
        number, piece = numbered
        self.begin(number)
        value = self.function(piece)
        self.note(f"end-{number}")
        return value


@dataclass
class Watched(Executor):
    """Another executor, of which the worker of piece 1 is killed in every map; ``maps`` are the notes of each map."""

    executor: Executor
    folder: Path
    maps: list[Noted] = field(default_factory=list)

    @property
    def here(self) -> bool:
        """As the other executor."""
        return self.executor.here

    @property
    def workers(self) -> int:
        """As the other executor."""
        return self.executor.workers

    def map(self, function: Callable[[Any], Any], pieces: Iterable[Any], *, gpu: bool = False) -> Iterator[Any]:
        """As the other executor, with notes."""
        folder = self.folder / str(len(self.maps))
        folder.mkdir(parents=True)
        self.maps.append(Noted(folder, (1,), function))
        return self.executor.map(self.maps[-1], enumerate(pieces), gpu=gpu)


class Pickled(Executor):
    """Computes in this process with a copy of the function, which has loaded nothing, as another process does."""

    here, workers = False, 1

    def map(self, function: Callable[[Any], Any], pieces: Iterable[Any], *, gpu: bool = False) -> Iterator[Any]:
        """The results, which could be sent."""
        copy = sent(function)
        return (sent(copy(piece)) for piece in pieces)


def sent(value: Any) -> Any:
    """A value as another process receives it."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - of this process


def visible_gpus(_piece: int) -> str:
    """The GPUs that a worker sees."""
    return os.environ["CUDA_VISIBLE_DEVICES"]
