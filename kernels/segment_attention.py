"""Attention over one sequence of text, video and audio rows, with a cross-modal direction closed.

A row of a stream that is closed must not see the other one, and neither may the text rows: what they saw they would hand
on in the next block. Instead of an n x n mask the queries are split by stream, each with the keys it is permitted.

Letters: n rows, d whatever lies behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class SegmentSplit:
    """Which rows ask together, and which they ask."""

    rows: int
    parts: tuple[tuple[Tensor, Tensor], ...]  # indices of queries and of their keys

    @classmethod
    def of(cls, segments: Sequence[Segment], *, a2v: bool, v2a: bool) -> SegmentSplit:
        """The split of a sequence made of ``segments`` in order."""
        index = {
            s: torch.cat([torch.arange(0), *(torch.arange(a, b) for a, b, kind in segments if kind == s)])
            for s in STREAMS
        }
        allowed = permitted(a2v=a2v, v2a=v2a)
        parts = []
        for keys in dict.fromkeys(frozenset(allowed[s]) for s in STREAMS):
            asking = torch.cat([index[s] for s in STREAMS if allowed[s] == keys])
            if len(asking):
                parts.append((asking, torch.cat([index[s] for s in STREAMS if s in keys]).sort().values))
        return cls(max(b for _, b, _ in segments), tuple(parts))


def segment_attention(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor, split: SegmentSplit
) -> Tensor:
    """``attend`` once for each part. q, k, v: [..., n, d], and attend's answer is [..., n, d'] in the rows of its q."""
    out: Tensor | None = None
    for queries, keys in split.parts:
        rows, columns = queries.to(q.device), keys.to(q.device)
        answer = attend(q.index_select(-2, rows), k.index_select(-2, columns), v.index_select(-2, columns))
        out = answer.new_empty(*answer.shape[:-2], split.rows, answer.shape[-1]) if out is None else out
        out.index_copy_(-2, rows, answer)
    if out is None:
        raise ValueError("The sequence has no rows; attention needs at least one segment.")
    return out


def segment_mask(segments: Sequence[Segment], *, a2v: bool, v2a: bool) -> Bool[Tensor, "n n"]:
    """The same as a mask, written out: True where a row may see another."""
    kinds = [kind for a, b, kind in sorted(segments) for _ in range(a, b)]
    allowed = permitted(a2v=a2v, v2a=v2a)
    return torch.tensor([[key in allowed[query] for key in kinds] for query in kinds])
