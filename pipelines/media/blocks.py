"""A stream of samples cut into blocks that know their neighbours, so that a long recording needs no more memory than a block."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor


class Blocks:
    """Blocks of ``size`` samples, each with ``before`` samples in front of it and ``after`` samples behind it. Beyond the ends of the
    stream the neighbours are zero."""

    def __init__(self, size: int, *, before: int, after: int) -> None:
        self.size, self.before, self.after = size, before, after
        self.waiting: list[Tensor] = []
        self.count = 0  # samples in ``waiting``

    def add(self, samples: Float[Tensor, "channels s"]) -> Iterator[Float[Tensor, "channels block"]]:
        """The blocks that are complete with ``samples``."""
        if not self.waiting:
            self._keep(samples.new_zeros(len(samples), self.before))
        self._keep(samples)
        whole = self.before + self.size + self.after
        if self.count >= whole:
            held = torch.cat(self.waiting, dim=1)
            starts = range(0, held.shape[1] - whole + 1, self.size)
            self.waiting, self.count = [], 0
            self._keep(held[:, starts[-1] + self.size :].clone())
            yield from (held[:, start : start + whole] for start in starts)

    def end(self) -> Iterator[Float[Tensor, "channels block"]]:
        """The rest of the stream; the last block may be shorter than ``size``."""
        if not self.waiting:
            return
        held = torch.cat([*self.waiting, self.waiting[0].new_zeros(len(self.waiting[0]), self.after)], dim=1)
        length = held.shape[1] - self.before - self.after
        for start in range(0, length, self.size):
            yield held[:, start : start + self.before + min(self.size, length - start) + self.after]
        self.waiting, self.count = [], 0

    def _keep(self, samples: Tensor) -> None:
        self.waiting.append(samples)
        self.count += samples.shape[1]
