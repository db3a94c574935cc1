"""Plans: tokens of both streams with places in the unit cube (Baton), and the readable timeline they stand for.

Letters: b batch, n plan tokens, d channels of one, a axes (time; for video also row and column).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .streams import Streams


@dataclass(frozen=True)
class PlanTokens:
    """One stream's planned tokens. ``places`` are their centres in [0, 1]^a; ``shown`` hides a sample's plan where False."""

    tokens: Float[Tensor, "b n d"]
    places: Float[Tensor, "n a"]
    shown: Bool[Tensor, " b"] | None = None

    def repeated(self, count: int, shown: Bool[Tensor, " rows"]) -> PlanTokens:
        """The same plan for each of ``count`` branches, hidden in those rows where ``shown`` is False."""
        rows = shown if self.shown is None else shown & self.shown.repeat(count)
        return PlanTokens(self.tokens.repeat(count, 1, 1), self.places, rows)


PlanStreams = Streams[PlanTokens]


def rows_of(plan: PlanStreams, rows: slice) -> PlanStreams:
    """The plan of some of its samples."""
    return plan.map(lambda p: PlanTokens(p.tokens[rows], p.places, None if p.shown is None else p.shown[rows]))


def unit_grid(*counts: int) -> Float[Tensor, "n a"]:
    """Centres of a regular grid in the unit cube, the first axis slowest: equal grids have equal places."""
    axes = [(torch.arange(count, dtype=torch.float32) + 0.5) / count for count in counts]
    return torch.cartesian_prod(*axes).view(-1, len(counts))
