"""Pocket LTX-2: LTX-2's architecture at pocket size on the pocket latents.

The latents are divided by their channels' deviations, and 2 x 2 video cells form one token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ...core.schema import Between, Depth, Fps, Heads, SampleRate, Width, check_heads
from ...core.sizes import MEL_HOP, MEL_STRIDE, VIDEO_STRIDE, ClipShape
from ...core.streams import Streams
from ..pocket.audio_codec import AudioCodec
from ..pocket.video_codec import VideoCodec
from .network import LTX2Network
from .sizes import AudioClock, LTX2Sizes

Scale = tuple[Annotated[float, Between(1e-6, 1e6)], ...]
PATCH = 2  # rows and columns of latent cells in one token
SECONDS = 4.0  # rotary positions of the time axis run from -1 to 1 over this many seconds


@dataclass(frozen=True)
class PocketLTX2Config:
    """Sizes of the network and the clock it was trained on; stored in the weights file."""

    dim: Width = 192
    depth: Depth = 4
    heads: Heads = 6
    text_dim: Width = 128
    video_channels: Width = 16
    audio_channels: Width = 24
    fps: Fps = 16
    sample_rate: SampleRate = 16_000
    video_scale: Scale = field(default=())  # deviation of each latent channel
    audio_scale: Scale = field(default=())

    def __post_init__(self) -> None:
        check_heads(self.dim, self.heads)

    def sizes(self) -> LTX2Sizes:
        """The same sizes as the official configuration states them."""
        shape, head = ClipShape(), self.dim // self.heads
        stream = {"num_attention_heads": self.heads, "attention_head_dim": head, "cross_attention_dim": self.dim}
        official = {
            **stream,
            **{f"audio_{name}": value for name, value in stream.items()},
            **dict.fromkeys(("in_channels", "out_channels"), self.video_channels * PATCH**2),
            **dict.fromkeys(("audio_in_channels", "audio_out_channels"), self.audio_channels),
            "caption_channels": self.text_dim,
            "num_layers": self.depth,
            "positional_embedding_max_pos": [SECONDS, shape.height, shape.width],
            "audio_positional_embedding_max_pos": [SECONDS],
            "vae_scale_factors": [VIDEO_STRIDE[0], VIDEO_STRIDE[1] * PATCH, VIDEO_STRIDE[2] * PATCH],
            "use_middle_indices_grid": True,
            "causal_temporal_positioning": False,
            "av_ca_timestep_scale_multiplier": 1000.0,
            "rope_type": "split",
            "frequencies_precision": "float64",
        }
        return LTX2Sizes(official, AudioClock(self.sample_rate, MEL_HOP, MEL_STRIDE, causal=False))


class PocketLTX2(nn.Module):
    """A ``Backbone``: x0 of the pocket latents, divided by their channels' deviations."""

    def __init__(self, config: PocketLTX2Config) -> None:
        super().__init__()
        self.config = config
        self.network = LTX2Network(config.sizes())

    def forward(
        self,
        x: Streams[Tensor],
        sigma: Streams[Tensor],
        text: Streams[Tensor],
        *,
        route: Streams[Tensor] | None = None,
        silent: Streams[Tensor] | None = None,
        conditions: dict[str, Any] | None = None,
    ) -> Streams[Tensor]:
        """x0 of both streams; see ``Backbone``. There are no context tokens, so a closed route always adds zero."""
        velocity = self.velocity(x, sigma, text, route=route)
        return x.map(lambda z, v, s: z - spread(s, z) * v, velocity, sigma)

    def velocity(
        self,
        x: Streams[Tensor],
        sigma: Streams[Tensor],
        text: Streams[Tensor],
        *,
        route: Streams[Tensor] | None = None,
    ) -> Streams[Tensor]:
        """The velocity noise - x0 of both streams, from which ``forward`` computes x0."""
        mask = text.map(lambda words: (words.abs().amax(-1) > 0).to(words.dtype))
        folded = Streams(fold(x.both()[0]), x.audio)
        out = self.network(folded, sigma, text, fps=float(self.config.fps), mask=mask, route=route)
        return Streams(unfold(out.both()[0]), out.audio)


def fold(video: Tensor) -> Tensor:
    """[b, c, t, h, w] -> [b, c * 4, t, h / 2, w / 2]."""
    return rearrange(video, "b c t (h p) (w q) -> b (c p q) t h w", p=PATCH, q=PATCH)


def unfold(video: Tensor) -> Tensor:
    """The inverse of ``fold``."""
    return rearrange(video, "b (c p q) t h w -> b c t (h p) (w q)", p=PATCH, q=PATCH)


def spread(sigma: Tensor, like: Tensor) -> Tensor:
    """[b, n] noise levels over latents [b, c, t, ...]."""
    return sigma.view(sigma.shape[0], 1, sigma.shape[1], *[1] * (like.ndim - 3))


class ScaledCodec(nn.Module):
    """A pocket codec whose latents are divided by ``scale``, one factor for each channel."""

    scale: Tensor

    def __init__(self, codec: VideoCodec | AudioCodec, scale: tuple[float, ...]) -> None:
        super().__init__()
        self.codec = codec
        self.register_buffer("scale", torch.tensor(scale))

    def _factors(self, z: Tensor) -> Tensor:
        return self.scale.view(-1, *[1] * (z.ndim - 2))

    def encode(self, x: Tensor) -> Tensor:
        """Scaled latents of frames or waveforms."""
        z = self.codec.encode(x)
        return z / self._factors(z)

    def decode(self, z: Tensor, **options: Any) -> Tensor:
        """Frames or waveforms of scaled latents."""
        return self.codec.decode(z * self._factors(z), **options)
