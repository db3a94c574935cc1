"""Work for the tests of executors, in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Work:
    """Squares numbers and leaves a file for every load, start and end. The worker of a ``doomed`` piece is killed at its first try, that
    of a ``cursed`` piece at every try; the piece 13 is refused if ``strict``."""

    folder: Path
    doomed: tuple[int, ...] = ()
    cursed: tuple[int, ...] = ()
    strict: bool = False
    seconds: float = 0.0

    @cached_property
    def power(self) -> int:
        """What a real worker would load."""
        self.note("loaded")
        return 2

    def note(self, what: str) -> bool:
        """Leave a file; whether there was none of this ``what`` before."""
        first = not list(self.folder.glob(f"{what}.*"))
        (self.folder / f"{what}.{os.getpid()}-{time.monotonic_ns()}").touch()
        return first

    def __call__(self, piece: int) -> int:
        """The square of ``piece``."""
        first = self.note(f"start-{piece}")
        if (first and piece in self.doomed) or piece in self.cursed:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.strict and piece == 13:
            raise ValueError("The piece 13 is not wanted. Leave it out.")
        time.sleep(self.seconds)
        value = piece**self.power
        self.note(f"end-{piece}")
        return value

    def counts(self, what: str, pieces: int) -> list[int]:
        """How often each piece was started or ended."""
        return [len(list(self.folder.glob(f"{what}-{piece}.*"))) for piece in range(pieces)]


def visible_gpus(_piece: int) -> str:
    """The GPUs that a worker sees."""
    return os.environ["CUDA_VISIBLE_DEVICES"]
