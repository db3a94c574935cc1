"""Text attention in which each latent frame reads the text tokens of its own windows: queries of frames with the same windows attend
together, to the tokens that they see. There is no mask over queries and keys.

Letters: f frames, m text tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .segment_attention import Part, Runs, Segment, SegmentSplit, joined_runs, permitted

Rows = tuple[int, int, int]  # first query, query after the last, index of their frame


def runs_of(flags: Bool[Tensor, " n"]) -> Runs:
    """The ranges in which ``flags`` are True."""
    padded = torch.nn.functional.pad(flags.int(), (1, 1)).diff()
    firsts, afters = (torch.nonzero(padded == sign).flatten().tolist() for sign in (1, -1))
    return tuple(zip(firsts, afters, strict=True))


def equal_windows(log_shares: Float[Tensor, "f m"], rows: Sequence[Rows]) -> list[tuple[Runs, Float[Tensor, " m"]]]:
    """The queries of ``rows`` whose frames have equal log-shares, adjacent ranges merged, with these log-shares."""
    found: dict[int, list[tuple[int, int]]] = {}
    distinct, index = torch.unique(log_shares, dim=0, return_inverse=True)
    numbers = index.tolist()
    for first, after, frame in rows:
        found.setdefault(numbers[frame], []).append((first, after))
    return [(joined_runs(runs), distinct[number]) for number, runs in found.items()]


def window_split(log_shares: Float[Tensor, "f m"], rows: Sequence[Rows], *, hidden: float) -> SegmentSplit:
    """The split of a cross-attention to m text tokens; log-shares of ``hidden`` are not read. ``rows`` are the queries in order."""
    parts = []
    for queries, shares in equal_windows(log_shares, rows):
        seen = shares > hidden
        bias = shares[seen]
        parts.append(Part(queries, runs_of(seen), bias if bool(bias.any()) else None))
    return SegmentSplit(rows[-1][1], tuple(parts))


def joint_window_split(
    segments: Sequence[Segment],
    texts: Sequence[tuple[int, int]],
    streams: Mapping[str, tuple[Float[Tensor, "f m"], Sequence[Rows]]],
    *,
    hidden: float,
    a2v: bool = True,
    v2a: bool = True,
) -> SegmentSplit:
    """The split of one sequence of text, video and audio rows, as ``SegmentSplit.of`` with windows over its text rows.

    segments: (first row, row after the last, stream), the text first. texts: the rows of each text, which see no other text. streams: the
    log-shares of all text rows and the rows of the frames of each stream, in the order of the sequence.
    """
    allowed = permitted(a2v=a2v, v2a=v2a)

    def others(stream: str) -> list[tuple[int, int]]:
        return [(a, b) for a, b, kind in segments if kind != "text" and kind in allowed[stream]]

    parts = [Part(((a, b),), joined_runs([(a, b), *others("text")])) for a, b in texts]
    for stream, (log_shares, rows) in streams.items():
        beyond = sum(b - a for a, b in others(stream))
        for queries, shares in equal_windows(log_shares, rows):
            seen = shares > hidden
            bias = torch.nn.functional.pad(shares[seen], (0, beyond)) if bool(shares[seen].any()) else None
            parts.append(Part(queries, joined_runs([*runs_of(seen), *others(stream)]), bias))
    return SegmentSplit(segments[-1][1], tuple(parts))
