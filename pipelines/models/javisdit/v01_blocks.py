"""Blocks of JavisDiT v0.1. Attribute names are the official checkpoint keys.

Letters: b batch, t frames (video) or time patches (audio), s patches of a frame or mel bins, c channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ....kernels.prior_attention import prior_attention
from ....kernels.segment_attention import SegmentSplit
from ...core.conditions import PriorTokens
from ...core.streams import Streams
from .layers import Attend, BiCrossAttention, CrossAttention, Mlp, SelfAttention, cast_like, modulate

MLP_RATIO = 4
FREQUENCIES = 256  # sine features of a timestep
Modulation = Float[Tensor, "b t_or_1 rows c"]


@dataclass(frozen=True)
class V01Config:
    """Sizes; the defaults are the released ones."""

    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    in_channels: int = 4
    audio_channels: int = 8
    audio_patch: int = 4  # latent frames of audio in one token
    caption_channels: int = 4096
    model_max_length: int = 300
    spatial_prior_len: int = 32
    temporal_prior_len: int = 32
    st_prior_channel: int = 128


class STDiTBlock(nn.Module):
    """Self-attention along one axis, text cross-attention and a feed-forward; six rows of modulation."""

    def __init__(self, config: V01Config, **shared: Any) -> None:
        super().__init__()
        dim, heads = config.hidden_size, config.num_heads
        factory = {name: value for name, value in shared.items() if name != "operations"}
        self.scale_shift_table = nn.Parameter(torch.empty(6, dim, **factory))
        self.attn = SelfAttention(dim, heads, **shared)
        self.cross_attn = CrossAttention(dim, heads, **shared)
        self.mlp = Mlp(dim, MLP_RATIO * dim, dim, **shared)

    def forward(
        self,
        x: Float[Tensor, "b t s c"],
        level: Modulation,
        text: tuple[Tensor, Tensor | None, SegmentSplit | None],
        rotary: Float[Tensor, "two t half"] | None = None,
        *,
        attend: Attend,
    ) -> Float[Tensor, "b t s c"]:
        """With ``rotary``, attention over t for each s separately; without it, attention over s for each t separately."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (cast_like(self.scale_shift_table, level) + level)[
            :, :, None
        ].unbind(3)
        over, back = ("b t s c -> (b s) t c", "(b s) t c -> b t s c")
        if rotary is None:
            over, back = ("b t s c -> (b t) s c", "(b t) s c -> b t s c")
        attended = self.attn(rearrange(modulate(x, shift1, scale1), over), rotary, attend=attend)
        x = x + gate1 * rearrange(attended, back, b=x.shape[0])
        words, mask, windows = text
        x = x + self.cross_attn(x.flatten(1, 2), words, mask=mask, windows=windows, attend=attend).view_as(x)
        return x + gate2 * self.mlp(modulate(x, shift2, scale2))


class PriorBlock(nn.Module):
    """Spatial prior, temporal prior, feed-forward; nine rows of modulation."""

    def __init__(self, config: V01Config, **shared: Any) -> None:
        super().__init__()
        dim, heads = config.hidden_size, config.num_heads
        factory = {name: value for name, value in shared.items() if name != "operations"}
        self.scale_shift_table = nn.Parameter(torch.empty(9, dim, **factory))
        self.spatial_cross_attn = CrossAttention(dim, heads, **shared)
        self.temporal_cross_attn = CrossAttention(dim, heads, **shared)
        self.mlp = Mlp(dim, MLP_RATIO * dim, dim, **shared)

    def forward(self, x: Float[Tensor, "b t s c"], level: Modulation, prior: PriorTokens) -> Float[Tensor, "b t s c"]:
        """``prior`` contains projected tokens, [p, n, c]."""
        rows = (cast_like(self.scale_shift_table, level) + level)[:, :, None].unbind(3)
        for attention, tokens, (shift, scale, gate) in (
            (self.spatial_cross_attn, prior.spatial, rows[0:3]),
            (self.temporal_cross_attn, prior.temporal, rows[3:6]),
        ):
            k, v = attention.keys_values(tokens)
            q = attention.queries(modulate(x, shift, scale).flatten(1, 2))
            x = x + gate * attention.merge(prior_attention(q, k, v, own=prior.own)).view_as(x)
        shift, scale, gate = rows[6:9]
        return x + gate * self.mlp(modulate(x, shift, scale))


class VACross(nn.Module):
    """Cross-attention between the streams in both directions, scaled channel by channel."""

    def __init__(self, config: V01Config, **shared: Any) -> None:
        super().__init__()
        factory = {name: value for name, value in shared.items() if name != "operations"}
        self.gamma_m1 = nn.Parameter(torch.empty(config.hidden_size, **factory))
        self.gamma_m2 = nn.Parameter(torch.empty(config.hidden_size, **factory))
        dim, heads = config.hidden_size, config.num_heads
        self.cross_attn = BiCrossAttention(dim, dim // 2, heads // 2, **shared)

    def forward(self, x: Streams[Tensor], route: Streams[Tensor], *, attend: Attend) -> Streams[Tensor]:
        norm = x.map(lambda z: F.layer_norm(z, z.shape[-1:], eps=1e-6).flatten(1, 2))
        update = Streams(*self.cross_attn(*norm.both(), a2v=route.video, v2a=route.audio, attend=attend))
        return x.map(
            lambda z, d, gamma: z + cast_like(gamma, z) * d.view_as(z), update, Streams(self.gamma_m1, self.gamma_m2)
        )


class FinalLayer(nn.Module):
    """Modulated norm and a projection to patches of twice the channels: velocity, and a variance that is not used."""

    def __init__(self, dim: int, out: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.empty(2, dim, **factory))
        self.linear = operations.Linear(dim, out, **factory)

    def forward(self, x: Float[Tensor, "b t s c"], t: Tensor, clean: tuple[Tensor, Tensor] | None) -> Tensor:
        """``clean`` holds the timestep embedding of noise level 0 and the mask of clean frames; the reference modulates these twice."""
        out = modulate(x, *self._rows(t))
        if clean is not None:
            zero, where = clean
            out = torch.where(where[:, :, None, None], modulate(out, *self._rows(zero)), out)
        return self.linear(out)

    def _rows(self, t: Float[Tensor, "b c"]) -> tuple[Tensor, ...]:
        return (cast_like(self.scale_shift_table, t) + t[:, None])[:, :, None, None].unbind(1)
