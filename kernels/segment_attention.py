"""Attention in parts: queries that see the same keys attend together, so that no n x n mask is needed.

``SegmentSplit.of`` closes one or both cross-modal directions in a sequence of text, video and audio rows. Rows of a stream with a closed
direction must not see the other stream. Text rows must not see it either, because they would pass it on in the next block.

Letters: n rows, d channels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Segment = tuple[int, int, str]  # first row, row after the last, stream: 'text', 'video' or 'audio'
Runs = tuple[tuple[int, int], ...]  # ranges of rows [first, after), in order
STREAMS = ("text", "video", "audio")


def permitted(*, a2v: bool, v2a: bool) -> dict[str, set[str]]:
    """For each stream's queries, the streams whose keys they see."""
    closed: dict[str, set[str]] = {"video": set() if a2v else {"audio"}, "audio": set() if v2a else {"video"}}
    closed["text"] = closed["video"] | closed["audio"]
    return {stream: {other for other in STREAMS if other not in closed[stream]} for stream in STREAMS}


@dataclass(frozen=True)
class Part:
    """Rows that are queries together, the rows they attend to, and what is added to the logits of these (``None``: nothing)."""

    queries: Runs
    keys: Runs
    bias: Float[Tensor, " keys"] | None = None


@dataclass(frozen=True)
class SegmentSplit:
    """A sequence of queries split into parts, which together contain each row once."""

    rows: int
    parts: tuple[Part, ...]

    def to(self, like: Tensor) -> SegmentSplit:
        """The same split with its biases on the device and in the dtype of ``like``."""
        parts = (p if p.bias is None else replace(p, bias=p.bias.to(like)) for p in self.parts)
        return SegmentSplit(self.rows, tuple(parts))

    @classmethod
    def of(cls, segments: Sequence[Segment], *, a2v: bool, v2a: bool) -> SegmentSplit:
        """The split of a sequence that consists of ``segments`` in order."""
        allowed, parts = permitted(a2v=a2v, v2a=v2a), []
        for keys in dict.fromkeys(frozenset(allowed[stream]) for stream in STREAMS):
            queries = _runs(segments, {stream for stream in STREAMS if allowed[stream] == keys})
            if queries:
                parts.append(Part(queries, _runs(segments, keys)))
        return cls(segments[-1][1], tuple(parts))


def joined_runs(runs: Iterable[tuple[int, int]]) -> Runs:
    """Ranges in order, adjacent ones merged."""
    out: list[tuple[int, int]] = []
    for first, after in sorted(runs):
        start = out.pop()[0] if out and out[-1][1] == first else first
        out.append((start, after))
    return tuple(out)


def _runs(segments: Sequence[Segment], streams: Collection[str]) -> Runs:
    """The ranges of rows of ``streams``."""
    return joined_runs((first, after) for first, after, stream in segments if stream in streams)


def segment_attention(attend: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, split: SegmentSplit) -> Tensor:
    """Call ``attend(q, k, v)`` once for each part, or ``attend(q, k, v, bias [1, keys])``, and reassemble the rows. q, k, v:
    [..., n, d]; result: [..., n, d'].

    Raises:
        ValueError: the sequence has no rows.
    """
    out: Tensor | None = None
    for part in split.parts:
        bias = () if part.bias is None else (part.bias[None],)
        result = attend(_rows(q, part.queries), _rows(k, part.keys), _rows(v, part.keys), *bias)
        out = result.new_empty(*result.shape[:-2], split.rows, result.shape[-1]) if out is None else out
        pieces = result.split([after - first for first, after in part.queries], dim=-2)
        for (first, after), piece in zip(part.queries, pieces, strict=True):
            out[..., first:after, :] = piece
    if out is None:
        raise ValueError("The sequence has no rows; attention needs at least one segment.")
    return out


def _rows(z: Tensor, runs: Runs) -> Tensor:
    """The rows of ``runs``; a view if they are one range."""
    parts = [z[..., first:after, :] for first, after in runs]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)


def segment_mask(segments: Sequence[Segment], *, a2v: bool, v2a: bool) -> Bool[Tensor, "n n"]:
    """The same rule as a mask for reference: True where a row (query) sees another (key)."""
    kinds = [kind for a, b, kind in sorted(segments) for _ in range(a, b)]
    allowed = permitted(a2v=a2v, v2a=v2a)
    return torch.tensor([[key in allowed[query] for key in kinds] for query in kinds])
