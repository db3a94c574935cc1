"""Pieces as tasks of a Ray cluster, or of a Ray that is started on this computer.

Ray schedules the tasks, starts the workers and repeats the task of a worker that was lost; a worker serves many tasks, one after another.
"""

from __future__ import annotations

import os
import platform
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from .executor import AHEAD, Executor, one_thread
from .identity import pack_digest

if TYPE_CHECKING:
    from ray import ObjectRef

P = TypeVar("P")
R = TypeVar("R")
LOCAL = "local"
RETRIES = 3  # of a piece whose worker was lost
SECONDS = 5.0  # to wait for an answer of the address
ADDRESS = re.compile(r"(?:ray://)?(?P<host>[^\s:/]+):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class OnRay(Executor):
    """The cluster that this process is connected to (see ``connected``). ``jobs``: the most pieces at once; None: all that it has CPUs
    or GPUs for, counted again while pieces are computed, so that nodes may join and leave."""

    jobs: int | None = None

    @property
    def here(self) -> bool:
        """Pieces are always computed in other processes."""
        return False

    @property
    def workers(self) -> int:
        """How many pieces are computed at once, on CPUs."""
        return self.jobs or self._slots("CPU")

    def __str__(self) -> str:
        import ray

        nodes = sum(node["Alive"] for node in ray.nodes())
        return f"{nodes} node(s), {self._slots('CPU')} CPU(s), {self._slots('GPU')} GPU(s)"

    def _slots(self, kind: str) -> int:
        import ray

        return int(ray.cluster_resources().get(kind, 0))

    def map(self, function: Callable[[P], R], pieces: Iterable[P], *, gpu: bool = False) -> Iterator[R]:
        """See ``Executor``."""
        import ray

        kind = "GPU" if gpu and self._slots("GPU") else "CPU"
        if not self._slots(kind):
            raise ValueError("The Ray cluster has no CPUs for tasks. Start a node with 'ray start' and --num-cpus.")
        # By default a worker ends after one task with a GPU (max_calls) and would load its model for each.
        task = ray.remote(num_cpus=1, num_gpus=int(kind == "GPU"), max_calls=0, max_retries=RETRIES)(_compute)
        shared, rest = ray.put(function), enumerate(pieces)
        window = deque[tuple[int, "ObjectRef[R]"]]()
        try:
            while True:
                all_references = [reference for _, reference in window]
                busy = ray.wait(all_references, num_returns=len(window), timeout=0)[1] if window else []
                for number, piece in islice(rest, self._room(kind, len(busy), len(window))):
                    # A reference inside a list is passed on as such: a worker fetches the function once, not for every piece.
                    reference = task.remote([shared], pack_digest(), piece)
                    busy.append(reference)
                    window.append((number, reference))
                if not window:
                    return
                if window[0][1] in busy:
                    ray.wait(busy, num_returns=1)
                else:
                    yield _result(*window.popleft())
        finally:
            for _, reference in window:
                ray.cancel(reference, force=True)

    def _room(self, kind: str, busy: int, window: int) -> int:
        """How many pieces may be added to a ``window`` of which ``busy`` are not finished. One more than can run waits at each worker."""
        slots = max(1, self._slots(kind))
        return max(0, min((self.jobs or 2 * slots) - busy, AHEAD * (self.jobs or slots) - window))


def _result(number: int, reference: ObjectRef[R]) -> R:
    """The result of a finished piece.

    Raises:
        ValueError: its worker was lost too often; an exception of the piece is raised as it is.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise ValueError(
            f"Piece {number} of the work lost its worker {RETRIES + 1} times ({str(error).splitlines()[0]}). Perhaps the memory of a node "
            "was not sufficient. Use fewer --jobs, or nodes with more memory, and run again."
        ) from error


def _compute(shared: list[ObjectRef[Callable[[Any], Any]]], digest: str, piece: Any) -> Any:
    """In a worker: the result of a piece."""
    return _function(shared[0], digest)(piece)


@lru_cache(maxsize=1)
def _function(reference: ObjectRef[Callable[[Any], Any]], digest: str) -> Callable[[Any], Any]:
    """In a worker: the function, fetched once.

    Raises:
        ValueError: the worker has another pack than the caller, whose pack has ``digest``.
    """
    import ray

    if digest != pack_digest():
        raise ValueError(
            f"The node {platform.node()} has another version of Duet or of its weights than this computer. Install the same on every node."
        )
    function = ray.get(reference)
    one_thread()
    return function


@contextmanager
def connected(address: str, jobs: int | None = None) -> Iterator[OnRay]:
    """A connection to the cluster at ``address`` (HOST:PORT on a node of the cluster, ray://HOST:PORT from elsewhere), or to a Ray that is
    started on this computer (``LOCAL``), with ``jobs`` workers, and ended after the block.

    Raises:
        ValueError: Ray is not installed, the address has another form, or no Ray answers there.
    """
    if find_spec("ray") is None:
        raise ValueError(
            "--cluster needs the package ray, which the extra [cluster] installs. In the pack's folder, run: "
            'pip install -e ".[cluster]"'
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use over the network
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    import ray

    try:
        if address == LOCAL:
            ray.init(LOCAL, num_cpus=jobs, include_dashboard=False, **quiet)
        else:
            _check_address(address)
            ray.init(address, **quiet)
    except ValueError:
        raise
    except Exception as error:  # Ray has no class for its own, for example if a node does not start in time
        raise ValueError(f"--cluster is {address}: {str(error).splitlines()[0]}") from error
    try:
        yield OnRay(jobs)
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Check that something answers at an address: Ray itself waits for minutes, and then ends the process.

    Raises:
        ValueError: nothing does, or the address has another form.
    """
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"--cluster is {address!r}; it must be {LOCAL}, HOST:PORT or ray://HOST:PORT.")
    try:
        socket.create_connection((found["host"], int(found["port"])), timeout=SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"--cluster is {address}: nothing answers there ({error}). Start Ray with 'ray start --head' and use the address that it "
            f"prints, or use --cluster {LOCAL}."
        ) from error
