"""Attention over one sequence of text, video and audio rows, with a cross-modal direction closed.

A row of a stream that is closed must not see the other one, and neither may the text rows: what they saw they would hand
on in the next block. Instead of an n x n mask the queries are split by stream, each with the keys it is permitted.

Letters: n rows, d whatever lies behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

Segment = tuple[int, int, str]  # first row, row after the last, stream: 'text', 'video' or 'audio'
STREAMS = ("text", "video", "audio")


def permitted(*, a2v: bool, v2a: bool) -> dict[str, set[str]]:
    """For each stream's queries, the streams whose keys they may see."""
    closed: dict[str, set[str]] = {"video": set() if a2v else {"audio"}, "audio": set() if v2a else {"video"}}
    closed["text"] = closed["video"] | closed["audio"]
    return {stream: {other for other in STREAMS if other not in closed[stream]} for stream in STREAMS}


Runs = tuple[tuple[int, int], ...]  # stretches of rows, in order


@dataclass(frozen=True)
class SegmentSplit:
    """Which rows ask together, and which they ask."""

    rows: int
    parts: tuple[tuple[Runs, Runs], ...]  # of queries and of their keys

    @classmethod
    def of(cls, segments: Sequence[Segment], *, a2v: bool, v2a: bool) -> SegmentSplit:
        """The split of a sequence made of ``segments`` in order."""
        allowed, parts = permitted(a2v=a2v, v2a=v2a), []
        for keys in dict.fromkeys(frozenset(allowed[stream]) for stream in STREAMS):
            asking = _runs(segments, {stream for stream in STREAMS if allowed[stream] == keys})
            if asking:
                parts.append((asking, _runs(segments, keys)))
        return cls(segments[-1][1], tuple(parts))


def _runs(segments: Sequence[Segment], streams: Collection[str]) -> Runs:
    """The stretches that ``streams`` cover, neighbours as one."""
    runs: list[tuple[int, int]] = []
    for first, after, stream in segments:
        if stream in streams:
            begun = runs.pop()[0] if runs and runs[-1][1] == first else first
            runs.append((begun, after))
    return tuple(runs)


def segment_attention(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor, split: SegmentSplit
) -> Tensor:
    """``attend`` once for each part. q, k, v: [..., n, d], and attend's answer is [..., n, d'] in the rows of its q."""
    out: Tensor | None = None
    for queries, keys in split.parts:
        answer = attend(_rows(q, queries), _rows(k, keys), _rows(v, keys))
        out = answer.new_empty(*answer.shape[:-2], split.rows, answer.shape[-1]) if out is None else out
        pieces = answer.split([after - first for first, after in queries], dim=-2)
        for (first, after), piece in zip(queries, pieces, strict=True):
            out[..., first:after, :] = piece
    if out is None:
        raise ValueError("The sequence has no rows; attention needs at least one segment.")
    return out


def _rows(z: Tensor, runs: Runs) -> Tensor:
    parts = [z[..., first:after, :] for first, after in runs]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)


def segment_mask(segments: Sequence[Segment], *, a2v: bool, v2a: bool) -> Bool[Tensor, "n n"]:
    """The same as a mask, written out: True where a row may see another."""
    kinds = [kind for a, b, kind in sorted(segments) for _ in range(a, b)]
    allowed = permitted(a2v=a2v, v2a=v2a)
    return torch.tensor([[key in allowed[query] for key in kinds] for query in kinds])
