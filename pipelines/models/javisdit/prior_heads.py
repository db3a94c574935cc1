"""The training heads of v0.1's prior (HiST-Sypo, arXiv 2503.23377): encoders of real clips, and a discriminator of draws and clips.

Generation does not use them; the released prior file holds them. Attribute names are the official checkpoint keys.

Letters: b clips, t time and s space (patches of a frame, or mel bins), n prior tokens, l and m patches merged into one, k channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...core.streams import Streams
from .embeddings import PatchEmbedding, frame_positions, sincos_1d
from .layers import BiCrossAttention, Mlp, SelfAttention

VIDEO_PATCH, AUDIO_PATCH = (1, 2, 2), (2, 2)
SPATIAL, TEMPORAL = "spatial", "temporal"
KINDS = (SPATIAL, TEMPORAL)


@dataclass(frozen=True)
class HeadsConfig:
    """Sizes; the defaults are the released ones."""

    spatial_token_num: int = 32
    temporal_token_num: int = 32
    channels: int = 128  # of a prior token
    heads: int = 4
    video_channels: int = 4
    audio_channels: int = 8


class Merging(nn.Module):
    """Tokens of both streams to one token for each group: cross-attention in both directions, the sum of both means, a feed-forward."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.cross_attn = BiCrossAttention(dim, dim, heads, operations=nn)
        self.mlp = Mlp(dim, 4 * dim, dim, operations=nn)

    def forward(self, video: Float[Tensor, "b n l k"], audio: Float[Tensor, "b n m k"]) -> Float[Tensor, "b n k"]:
        x1, x2 = video.flatten(0, 1), audio.flatten(0, 1)
        d1, d2 = self.cross_attn(_norm(x1), _norm(x2))
        merged = ((x1 + d1).mean(1) + (x2 + d2).mean(1)).unflatten(0, video.shape[:2])
        return merged + self.mlp(_norm(merged))


class Discriminator(nn.Module):
    """Whether tokens of a prior and tokens of a clip belong together, as a logit; read at a learned first token."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.attn = SelfAttention(dim, heads, operations=nn)
        self.classifier = nn.Linear(dim, 1)

    def forward(self, prior: Float[Tensor, "b n k"], clip: Float[Tensor, "b n k"]) -> Float[Tensor, " b"]:
        tokens = torch.cat([self.cls_token.expand(len(prior), -1, -1), prior, clip], dim=1)
        return self.classifier(self.attn(tokens)[:, 0])[:, 0]


class PriorHeads(nn.Module):
    """Latents of clips to spatial and temporal tokens, and the discriminator of both kinds."""

    def __init__(self, config: HeadsConfig) -> None:
        super().__init__()
        self.config, dim = config, config.channels
        self.video_embedder = PatchEmbedding(nn.Conv3d, config.video_channels, dim, VIDEO_PATCH)
        self.audio_embedder = nn.Conv2d(config.audio_channels, dim, AUDIO_PATCH, stride=AUDIO_PATCH)
        self.va_spatial_encoder, self.va_temporal_encoder = Merging(dim, config.heads), Merging(dim, config.heads)
        self.discriminator = Discriminator(dim, config.heads)

    def embed(self, latents: Streams[Tensor], size: tuple[float, float]) -> Streams[Tensor]:
        """Patches [b, t, s, k] with the embedding of their position in the frame, or on the mel axis. ``size``: height and width of the
        frames in pixels."""
        video, audio = latents.both()
        rows, columns = video.shape[-2:]
        video = self.video_embedder.proj(F.pad(video, (0, columns % 2, 0, rows % 2)))
        h, w = video.shape[-2:]
        places = frame_positions(h, w, torch.tensor(size, device=video.device), self.config.channels)
        video = rearrange(video, "b k t h w -> b t (h w) k") + places
        audio = rearrange(self.audio_embedder(audio), "b k t m -> b t m k")
        bins = sincos_1d(torch.arange(audio.shape[2], device=audio.device, dtype=torch.float32), self.config.channels)
        return Streams(video, audio + bins)

    def tokens(self, kind: str, patches: Streams[Tensor]) -> Float[Tensor, "b n k"]:
        """The tokens of one kind: each merges what lies at one place at all times, or at one time at all places."""
        count = self.config.spatial_token_num if kind == SPATIAL else self.config.temporal_token_num
        encoder = self.va_spatial_encoder if kind == SPATIAL else self.va_temporal_encoder
        return encoder(*(_grouped(z, kind, count) for z in patches.both()))


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _grouped(patches: Float[Tensor, "b t s k"], kind: str, count: int) -> Float[Tensor, "b n l k"]:
    """Patches with their space, or their time, interpolated to ``count`` groups, which come first."""
    b, t, s, _ = patches.shape
    along, back = ("b t s k -> (b t) k s", "(b t) k n -> b n t k")
    if kind == TEMPORAL:
        along, back = ("b t s k -> (b s) k t", "(b s) k n -> b n s k")
    size = {"t": t} if kind == SPATIAL else {"s": s}
    return rearrange(F.interpolate(rearrange(patches, along), count, mode="linear"), back, b=b, **size)
