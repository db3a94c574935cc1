"""Rotary positions of the tokens of a latent; time is in seconds for both streams.

Letters: t/h/w latent frames/rows/columns, l tokens, a axes.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from einops import repeat
from torch import Tensor

from ....kernels.rotary import rotary_table
from ...core.sizes import VIDEO_PATCH, audio_latent_seconds, latent_frame_of, latent_times, video_latent_seconds
from ...core.streams import Streams
from ..attention import ROTARY_POSITIONS_PER_SECOND, Geometry

SPAN = 8.0  # rotary positions of rows and columns run from 0 to this at every resolution


@runtime_checkable
class TokenSizes(Protocol):
    """What positions depend on: the width of a head, the clock, and the unit of positions in time."""

    @property
    def dim(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def fps(self) -> int: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def clock(self) -> str: ...


def stream_geometry(config: TokenSizes, x: Streams[Tensor], *, patch: int = VIDEO_PATCH) -> Streams[Geometry]:
    """Geometry of the streams present: ``x`` holds video [b, c, t, h, w], of which a token covers ``patch`` x ``patch`` cells, and audio
    [b, c, t]."""
    frames = x.present()[0].shape[2]  # latent frames of the video; of the audio where there is no video
    video = audio = None
    if x.video is not None:
        h, w = x.video.shape[3:]
        rows, columns = (latent_times(n // patch, patch / n) * SPAN for n in (h, w))
        space = torch.cartesian_prod(rows, columns)
        video = _geometry(config, torch.arange(frames), video_latent_seconds(config.fps), space)
    if x.audio is not None:
        count = x.audio.shape[2]
        audio = _geometry(config, latent_frame_of(count, frames), audio_latent_seconds(config.sample_rate))
    device = x.present()[0].device
    return Streams(video, audio).map(lambda g: Geometry(*(value.to(device) for value in vars(g).values())))


def _geometry(config: TokenSizes, frames: Tensor, seconds_each: float, space: Tensor | None = None) -> Geometry:
    """Geometry of one stream. ``frames``: the video latent frame that each of its latent frames falls into. ``space`` [s, 2]: the rows and
    columns of the tokens of one latent frame."""
    count, head_dim = len(frames), config.dim // config.heads
    positions = latent_times(count, seconds_each)[:, None] * ROTARY_POSITIONS_PER_SECOND
    if space is not None:
        positions = torch.cat([repeat(positions, "t 1 -> (t s) 1", s=len(space)), space.repeat(count, 1)], dim=1)
    tokens_each = len(positions) // count
    clock = positions[:, :1]
    if config.clock == "index":
        clock = torch.arange(count).repeat_interleave(tokens_each)[:, None]
    extent = torch.tensor([count * seconds_each * ROTARY_POSITIONS_PER_SECOND] + [SPAN] * (positions.shape[1] - 1))
    return Geometry(
        positions,
        extent,
        frames.repeat_interleave(tokens_each),
        rotary_table(positions, head_dim=head_dim),
        rotary_table(clock, head_dim=head_dim),
    )
