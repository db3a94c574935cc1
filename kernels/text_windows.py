"""Text attention in which each latent frame reads the text tokens of its own windows: queries of frames with the same windows attend
together, to the tokens that they see. There is no mask over queries and keys.

Letters: f frames, m text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .segment_attention import Part, Runs, SegmentSplit

Rows = tuple[int, int, int]  # first query, query after the last, index of their frame


def runs_of(flags: Bool[Tensor, " n"], *, start: int = 0) -> Runs:
    """The ranges in which ``flags`` are True, counted from ``start``."""
    padded = torch.nn.functional.pad(flags.int(), (1, 1)).diff()
    firsts, afters = ((torch.nonzero(padded == sign).flatten() + start).tolist() for sign in (1, -1))
    return tuple(zip(firsts, afters, strict=True))


def equal_windows(log_shares: Float[Tensor, "f m"], rows: Sequence[Rows]) -> list[tuple[Runs, Float[Tensor, " m"]]]:
    """The queries of ``rows`` whose frames have equal log-shares, adjacent ranges merged, with these log-shares."""
    found: dict[int, list[tuple[int, int]]] = {}
    distinct, index = torch.unique(log_shares, dim=0, return_inverse=True)
    numbers = index.tolist()
    for first, after, frame in rows:
        runs = found.setdefault(numbers[frame], [])
        start = runs.pop()[0] if runs and runs[-1][1] == first else first
        runs.append((start, after))
    return [(tuple(runs), distinct[number]) for number, runs in found.items()]


def window_split(log_shares: Float[Tensor, "f m"], rows: Sequence[Rows], *, hidden: float) -> SegmentSplit:
    """The split of a cross-attention to m text tokens; log-shares of ``hidden`` are not read. ``rows`` are the queries in order."""
    parts = []
    for queries, shares in equal_windows(log_shares, rows):
        seen = shares > hidden
        bias = shares[seen]
        parts.append(Part(queries, runs_of(seen), bias if bool(bias.any()) else None))
    return SegmentSplit(rows[-1][1], tuple(parts))
