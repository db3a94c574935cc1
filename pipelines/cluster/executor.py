"""Maps a function over independent pieces, in order: in this process, in several processes of this computer, or on Ray (``on_ray``).

The function is pickled once for each map and unpickled once in each worker. What it loads and keeps, in itself or in a cache of its module,
is therefore loaded once per worker; a frozen dataclass with a ``cached_property`` does this. A worker has one thread. Results return to the
calling process, which alone writes files, so that every result is written once.
"""

from __future__ import annotations

import os
import pickle
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

P = TypeVar("P")
R = TypeVar("R")
AHEAD = 4  # pieces for each worker that are started or finished and not yet consumed


class Executor(ABC):
    """Something that computes pieces."""

    @property
    @abstractmethod
    def here(self) -> bool:
        """Whether pieces are computed in this process, so that the function needs no pickling and may call back."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many pieces are computed at once."""

    @abstractmethod
    def map(self, function: Callable[[P], R], pieces: Iterable[P], *, gpu: bool = False) -> Iterator[R]:
        """The results of ``function`` in the order of ``pieces``, which are only read as far as they are needed. With ``gpu``, a worker has
        one GPU if there are any.

        Raises:
            ValueError: workers are lost; an exception of ``function`` is raised as it is, and is not tried again.
        """


@dataclass(frozen=True)
class Processes(Executor):
    """``jobs`` processes of this computer; one is this process, with its threads."""

    jobs: int = 1

    @property
    def here(self) -> bool:
        """Whether the one process is this one."""
        return self.jobs == 1

    @property
    def workers(self) -> int:
        """Number of processes."""
        return self.jobs

    def map(self, function: Callable[[P], R], pieces: Iterable[P], *, gpu: bool = False) -> Iterator[R]:
        """See ``Executor``."""
        return map(function, pieces) if self.here else self._in_processes(function, pieces)

    def _in_processes(self, function: Callable[[P], R], pieces: Iterable[P]) -> Iterator[R]:
        rest, window = iter(pieces), deque[Future[bytes]]()
        pool = ProcessPoolExecutor(
            self.jobs, get_context("spawn"), initializer=_start, initargs=(pickle.dumps(function),)
        )
        try:
            while True:
                window += (pool.submit(_compute, piece) for piece in islice(rest, AHEAD * self.jobs - len(window)))
                if not window:
                    return
                yield pickle.loads(window.popleft().result())  # noqa: S301 - of our own process
        except BrokenProcessPool as error:
            raise ValueError(
                "A process ended before it finished its work; perhaps the memory was not sufficient. Use fewer --jobs, and run again."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def one_thread() -> None:
    """Let torch compute with one thread, whether it is already loaded or loaded later."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


_function: Callable[[Any], Any] | None = None  # of this worker


def _start(function: bytes) -> None:
    global _function
    _function = pickle.loads(function)  # noqa: S301 - of our own process
    one_thread()


def _compute(piece: Any) -> bytes:
    """The pickled result: torch would pass its tensors on as shared files, which end with this process."""
    assert _function is not None
    return pickle.dumps(_function(piece))
