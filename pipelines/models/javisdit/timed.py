"""Timed text in JavisDiT: which text tokens each video and audio token reads.

Letters: b batch (all samples have equal windows), n latent frames of a stream, m text tokens, t frames of tokens, s tokens of a frame.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, cat

from ....kernels.segment_attention import SegmentSplit
from ....kernels.text_windows import Rows, window_split
from ...core.streams import Streams
from ...guidance.timed import HIDDEN, LEAST_SHARE


def token_frames(shares: Float[Tensor, "b n m"], count: int) -> Float[Tensor, "count m"]:
    """Log-shares of ``count`` frames of tokens, each the mean share of the latent frames that it covers."""
    merged = shares[0].float().cpu()
    if len(merged) != count:
        mean = merged.exp().unflatten(0, (count, -1)).mean(1)
        merged = mean.log().where(mean > LEAST_SHARE, HIDDEN)
    return merged


def frame_rows(frames: int, each: int, *, first: int = 0, number: int = 0) -> list[Rows]:
    """Rows of ``frames`` frames of ``each`` tokens from row ``first`` on, the first of them frame ``number``."""
    return [(first + i * each, first + (i + 1) * each, number + i) for i in range(frames)]


def stream_windows(shares: Float[Tensor, "b n m"], tokens: Float[Tensor, "b t s c"]) -> SegmentSplit:
    """The windows of the text attention of one stream (v0.1)."""
    _, frames, each, _ = tokens.shape
    return window_split(token_frames(shares, frames), frame_rows(frames, each), hidden=HIDDEN).to(tokens)


def joint_windows(
    timed: Streams[Tensor], grid: tuple[int, int, int, int, int], tokens: Float[Tensor, "b l c"]
) -> SegmentSplit:
    """The windows of the text attention of the whole sequence (v1.0). grid: video frames, rows, columns; audio times and mel patches."""
    frames, height, width, time, mel = grid
    video, audio = timed.both()
    shares = cat([token_frames(video, frames), token_frames(audio, time)])
    first = frames * height * width
    rows = frame_rows(frames, height * width) + frame_rows(time, mel, first=first, number=frames)
    return window_split(shares, rows, hidden=HIDDEN).to(tokens)
