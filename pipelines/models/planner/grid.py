"""The coarse grid of a clip's planned tokens."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...core.conditions import PlacedTokens, PlanStreams, unit_grid
from ...core.streams import Streams

PER_KEYFRAME = 2  # frames, whose features stand side by side in one token: 8 keyframes a second
CELLS = 2  # rows and columns of a keyframe
PER_BLOCK = 4  # mel frames behind one audio token: 16 a second
HALVES = 2  # of a block, whose features stand side by side


@dataclass(frozen=True)
class PlanGrid:
    """How many planned tokens a clip has: keyframes of ``CELLS`` x ``CELLS``, and blocks of sound."""

    keyframes: int
    blocks: int

    @classmethod
    def of(cls, frames: int, mel_frames: int) -> PlanGrid:
        return cls(-(-frames // PER_KEYFRAME), -(-mel_frames // PER_BLOCK))

    def placed(self, tokens: Streams[Tensor]) -> PlanStreams:
        """``tokens`` [b, n, d] at the centres of the grid's cells."""
        places = Streams(unit_grid(self.keyframes, CELLS, CELLS), unit_grid(self.blocks))
        return tokens.map(lambda z, at: PlacedTokens(z, at), places)
