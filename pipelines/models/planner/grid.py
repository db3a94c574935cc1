"""The coarse grid of a clip's planned tokens."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...core.conditions import PlacedTokens, PlanStreams, unit_grid
from ...core.streams import Streams

PER_KEYFRAME = 2  # frames whose features are concatenated in one token: 8 keyframes per second
CELLS = 2  # rows and columns of tokens in a keyframe
PER_BLOCK = 4  # mel frames of one audio token: 16 tokens per second
HALVES = 2  # halves of a block whose features are concatenated


@dataclass(frozen=True)
class PlanGrid:
    """The number of planned tokens of a clip: video keyframes of ``CELLS`` x ``CELLS`` tokens, and audio blocks of one token."""

    keyframes: int
    blocks: int

    @classmethod
    def of(cls, frames: int, mel_frames: int) -> PlanGrid:
        return cls(-(-frames // PER_KEYFRAME), -(-mel_frames // PER_BLOCK))

    def place(self, tokens: Streams[Tensor]) -> PlanStreams:
        """``tokens`` [b, n, d] at the centres of the grid's cells."""
        places = Streams(unit_grid(self.keyframes, CELLS, CELLS), unit_grid(self.blocks))
        return tokens.map(lambda z, at: PlacedTokens(z, at), places)
