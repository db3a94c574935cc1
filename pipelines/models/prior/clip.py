"""Encoders of real clips: video and audio latents to the Gaussian of a clip's prior tokens.

The structure follows JavisDiT (HiST-Sypo). The sizes, the Gaussian of a clip, the contrastive score and the layout reader are ours, as are
the losses that train them: InfoNCE, KL with free nats, and the likelihood of the layout. JavisDiT's official losses are listed in the
docstring of this package.

Letters: b batch, l tokens of a stream, n prior tokens, k channels of one, c channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...core.conditions import unit_grid
from ...core.sizes import VIDEO_PATCH
from ...core.streams import Streams
from ...core.timeline import PLACES
from ..perceiver import PerceiverSize, QueryPerceiver, StreamPerceiver
from .estimator import LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE

BINS = 16  # time bins of a layout per second
KEY = 128  # channels of the embeddings by which draws and clips are compared
NARROW = 8  # channels of each token's projection into its clip's key


@dataclass(frozen=True)
class ClipConfig:
    """Sizes; ``video`` and ``audio`` are latent channels."""

    spatial: int
    temporal: int
    channels: int
    video: int
    audio: int
    seconds: float = 2.0
    dim: int = 128
    depth: int = 1
    heads: int = 4

    @property
    def bins(self) -> int:
        return round(self.seconds * BINS)

    @property
    def tokens(self) -> int:
        return self.spatial + self.temporal


def temporal_places(count: int) -> Float[Tensor, "n a"]:
    """The times of ``count`` temporal tokens, as fractions of the clip's length."""
    return unit_grid(count)


def spatial_places(count: int) -> Float[Tensor, "n a"]:
    """The rows and columns of ``count`` spatial tokens, as fractions of the frame's height and width.

    Raises:
        ValueError: ``count`` is not a power of two.
    """
    if count < 1 or count & (count - 1):
        raise ValueError(
            f"spatial is {count}; it must be a power of two, because the spatial tokens form rows and columns."
        )
    rows = 2 ** ((count.bit_length() - 1) // 2)
    return unit_grid(rows, count // rows)


class ClipEncoder(nn.Module):
    """Encodes a clip to the Gaussian of its prior tokens, spatial tokens first, and to a key that distinguishes it from other clips."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        size = PerceiverSize(config.dim, config.heads, config.depth)
        self.video_embedder = StreamPerceiver(config.video * VIDEO_PATCH**2, 3, size)
        self.audio_embedder = StreamPerceiver(config.audio, 1, size)
        self.va_spatial_encoder = QueryPerceiver(spatial_places(config.spatial), size)
        self.va_temporal_encoder = QueryPerceiver(temporal_places(config.temporal), size)
        self.out = nn.Linear(config.dim, 2 * config.channels)
        self.narrow, self.to_key = nn.Linear(config.dim, NARROW), nn.Linear(config.tokens * NARROW, KEY)

    def encode_video(self, video: Float[Tensor, "b v t h w"]) -> Float[Tensor, "b l c"]:
        """States of the video tokens."""
        t, h, w = video.shape[2], video.shape[3] // VIDEO_PATCH, video.shape[4] // VIDEO_PATCH
        patches = rearrange(video, "b c t (h p) (w q) -> b (t h w) (c p q)", p=VIDEO_PATCH, q=VIDEO_PATCH)
        return self.video_embedder(patches, unit_grid(t, h, w))

    def encode_audio(self, audio: Float[Tensor, "b a t"]) -> Float[Tensor, "b l c"]:
        """States of the audio tokens."""
        return self.audio_embedder(audio.transpose(1, 2), unit_grid(audio.shape[2]))

    def query(self, video: Float[Tensor, "b l c"], audio: Float[Tensor, "b m c"]) -> Float[Tensor, "b n c"]:
        """States of the prior tokens: learned queries over the states of both streams."""
        states = torch.cat([video, audio], dim=1)
        return torch.cat([self.va_spatial_encoder(states), self.va_temporal_encoder(states)], dim=1)

    def states(self, latents: Streams[Tensor]) -> Float[Tensor, "b n c"]:
        """States of the prior tokens of clips, from their latents."""
        video, audio = latents.both()
        return self.query(self.encode_video(video), self.encode_audio(audio))

    def moments(self, states: Float[Tensor, "b n c"]) -> tuple[Float[Tensor, "b n k"], Float[Tensor, "b n k"]]:
        """Mean and log variance of each prior token."""
        mean, log_variance = self.out(states).float().chunk(2, dim=-1)
        return mean, log_variance.clamp(LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE)

    def keys(self, states: Float[Tensor, "b n c"]) -> Float[Tensor, "b key"]:
        return F.normalize(self.to_key(self.narrow(states).flatten(1)).float(), dim=-1)


class LayoutReader(nn.Module):
    """Reads the layout from prior tokens: where and when an audible event happens, as logits [b, places, bins]."""

    def __init__(self, inside: int, bins: int, *, operations: Any = nn, **factory: Any) -> None:
        """``inside``: the number of components of all tokens together."""
        super().__init__()
        self.bins = bins
        self.net = nn.Sequential(
            operations.Linear(inside, 2 * KEY, **factory),
            nn.GELU(),
            operations.Linear(2 * KEY, len(PLACES) * bins, **factory),
        )

    def forward(self, tokens: Float[Tensor, "b n k"]) -> Float[Tensor, "b places bins"]:
        return self.net(tokens.flatten(1)).unflatten(1, (len(PLACES), self.bins))


class Critic(nn.Module):
    """The contrastive score of draws against keys of clips."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(config.tokens * config.channels, 2 * KEY), nn.GELU(), nn.Linear(2 * KEY, KEY)
        )
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, tokens: Float[Tensor, "b n k"], keys: Float[Tensor, "m key"]) -> Float[Tensor, "b m"]:
        """The score of each draw for each clip."""
        return self.log_scale.exp() * F.normalize(self.net(tokens.flatten(1)).float(), dim=-1) @ keys.T
