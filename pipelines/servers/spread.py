"""Jobs spread over servers; a server that fails is dropped, and its job goes to another one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from .client import Server
from .transport import ServerError

Result = TypeVar("Result")
TICK = 0.5  # seconds between reports of the steps


def spread(
    servers: Sequence[Server],
    jobs: Iterable[int],
    run: Callable[[Server, int], Result],
    *,
    on_drop: Callable[[Server, ServerError], object],
    on_tick: Callable[[], object] = lambda: None,
) -> Generator[tuple[int, Result], None, None]:
    """Run each job on one of ``servers``, one at a time on each; yields the jobs with their results as they finish.

    Raises:
        ServerError: every server was dropped before all jobs were done.
    """
    idle, waiting, running = deque(servers), deque(jobs), {}
    pool = ThreadPoolExecutor(max(1, len(servers)))
    try:
        while waiting or running:
            while idle and waiting:
                server, job = idle.popleft(), waiting.popleft()
                running[pool.submit(run, server, job)] = server, job
            if not running:
                raise ServerError("no server is left")
            finished: list[tuple[int, Future[Any]]] = []
            for future in wait(running, timeout=TICK, return_when=FIRST_COMPLETED).done:
                server, job = running.pop(future)
                if isinstance(error := future.exception(), ServerError):
                    waiting.appendleft(job)
                    on_drop(server, error)
                else:
                    idle.append(server)
                    finished.append((job, future))
            on_tick()
            for job, future in finished:
                yield job, future.result()
    finally:
        for server in servers:
            server.stop.set()
        pool.shutdown(cancel_futures=True)
