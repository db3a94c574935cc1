"""What a true clip's prior tokens are: video and audio encoders over latents (JavisDiT, HiST-Sypo; sizes, the Gaussian of a clip
and the form of the contrastive score are our reconstruction).

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

BINS = 16  # a second: bins of what is read from the tokens
KEY = 128  # channels in which a draw and a clip are compared
NARROW = 8  # channels of a token that its clip's key is made of


@dataclass(frozen=True)
class ClipConfig:
    """Sizes; ``video`` and ``audio`` are channels of latents."""

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
    """The times for which ``count`` temporal tokens stand, in lengths of the clip."""
    return unit_grid(count)


def spatial_places(count: int) -> Float[Tensor, "n a"]:
    """The rows and columns of the picture for which ``count`` spatial tokens stand, in its sizes.

    Raises:
        ValueError: ``count`` is no power of two.
    """
    if count < 1 or count & (count - 1):
        raise ValueError(
            f"spatial is {count}; the pocket prior's spatial tokens lie in rows and columns, a power of two of them."
        )
    rows = 2 ** ((count.bit_length() - 1) // 2)
    return unit_grid(rows, count // rows)


class ClipEncoder(nn.Module):
    """A clip to the Gaussian of its prior tokens, spatial ones first, and to the key by which it is told from others."""

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

    def seen(self, video: Float[Tensor, "b v t h w"]) -> Float[Tensor, "b l c"]:
        """What is in a picture's latents."""
        t, h, w = video.shape[2], video.shape[3] // VIDEO_PATCH, video.shape[4] // VIDEO_PATCH
        patches = rearrange(video, "b c t (h p) (w q) -> b (t h w) (c p q)", p=VIDEO_PATCH, q=VIDEO_PATCH)
        return self.video_embedder(patches, unit_grid(t, h, w))

    def heard(self, audio: Float[Tensor, "b a t"]) -> Float[Tensor, "b l c"]:
        """What is in a sound's latents."""
        return self.audio_embedder(audio.transpose(1, 2), unit_grid(audio.shape[2]))

    def both(self, seen: Float[Tensor, "b l c"], heard: Float[Tensor, "b m c"]) -> Float[Tensor, "b n c"]:
        """What the queries find in a picture and a sound."""
        states = torch.cat([seen, heard], dim=1)
        return torch.cat([self.va_spatial_encoder(states), self.va_temporal_encoder(states)], dim=1)

    def states(self, latents: Streams[Tensor]) -> Float[Tensor, "b n c"]:
        """What the queries find in clips."""
        video, audio = latents.both()
        return self.both(self.seen(video), self.heard(audio))

    def moments(self, states: Float[Tensor, "b n c"]) -> tuple[Float[Tensor, "b n k"], Float[Tensor, "b n k"]]:
        """Mean and log variance of every prior token."""
        mean, log_variance = self.out(states).float().chunk(2, dim=-1)
        return mean, log_variance.clamp(LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE)

    def keys(self, states: Float[Tensor, "b n c"]) -> Float[Tensor, "b key"]:
        return F.normalize(self.to_key(self.narrow(states).flatten(1)).float(), dim=-1)


class LayoutReader(nn.Module):
    """What prior tokens say: where and when something that sounds happens, [b, places, bins] logits."""

    def __init__(self, inside: int, bins: int, *, operations: Any = nn, **factory: Any) -> None:
        """``inside``: numbers of all tokens together."""
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
    """A draw's side of the contrastive score."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(config.tokens * config.channels, 2 * KEY), nn.GELU(), nn.Linear(2 * KEY, KEY)
        )
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, tokens: Float[Tensor, "b n k"], keys: Float[Tensor, "m key"]) -> Float[Tensor, "b m"]:
        """How well each draw fits each clip."""
        return self.log_scale.exp() * F.normalize(self.net(tokens.flatten(1)).float(), dim=-1) @ keys.T
