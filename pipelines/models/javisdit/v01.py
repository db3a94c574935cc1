"""JavisDiT v0.1 (arXiv 2503.23377): video and audio branches, a spatio-temporal prior, bi-directional cross-attention.

Layer i in order: video attention within each frame, video attention over frames, audio attention over mel bins, audio attention over
time, prior attention in each stream, then cross-attention between the streams. Attribute names are the official checkpoint keys.

Letters: b batch, t frames (video) or time patches (audio), s patches of a frame or mel bins, c channels, m text tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ....kernels.prior_attention import prior_attention
from ....kernels.segment_attention import SegmentSplit
from ...core.conditions import PriorTokens
from ...core.streams import Streams
from .embeddings import CaptionEmbedding, PatchEmbedding, RotaryFrequencies, frame_positions, sincos_1d
from .layers import (
    Attend,
    BiCrossAttention,
    CrossAttention,
    Mlp,
    SelfAttention,
    TimestepMlp,
    cast_like,
    modulate,
    pair_table,
    sdpa,
)
from .timed import stream_windows

IMAGE_FPS = 120.0  # frame rate in the conditioning of a single frame
VIDEO_PATCH = (1, 2, 2)
MLP_RATIO = 4
FREQUENCIES = 256
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


class JavisDiT01(nn.Module):
    """Velocities (clean minus noise) of video [b, 4, t, h, w] and audio [b, 8, t, mel] latents at timesteps in 0..1000."""

    def __init__(self, config: V01Config, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config, dim = config, config.hidden_size
        shared = {"operations": operations, **factory}
        self.rope = RotaryFrequencies(dim // config.num_heads, **factory)
        self.x_embedder = PatchEmbedding(operations.Conv3d, config.in_channels, dim, VIDEO_PATCH, **factory)
        self.ax_embedder = PatchEmbedding(
            operations.Conv2d, config.audio_channels, dim, (config.audio_patch, 1), **factory
        )
        self.t_embedder = TimestepMlp(FREQUENCIES, dim, **shared)
        self.fps_embedder = TimestepMlp(FREQUENCIES, dim, **shared)
        self.t_block = nn.Sequential(nn.SiLU(), operations.Linear(dim, 6 * dim, **factory))
        self.st_t_block = nn.Sequential(nn.SiLU(), operations.Linear(dim, 9 * dim, **factory))
        captions = (config.caption_channels, dim, config.model_max_length)
        self.y_embedder, self.audio_y_embedder = (
            CaptionEmbedding(*captions, **shared),
            CaptionEmbedding(*captions, **shared),
        )
        priors = config.spatial_prior_len + config.temporal_prior_len
        self.st_prior_embedder = CaptionEmbedding(config.st_prior_channel, dim, priors, **shared)
        layers = lambda block: nn.ModuleList(block(config, **shared) for _ in range(config.depth))  # noqa: E731 - seven uses
        self.spatial_blocks, self.temporal_blocks = layers(STDiTBlock), layers(STDiTBlock)
        self.audio_spatial_blocks, self.audio_temporal_blocks = layers(STDiTBlock), layers(STDiTBlock)
        self.video_st_prior_blocks, self.audio_st_prior_blocks = layers(PriorBlock), layers(PriorBlock)
        self.va_cross_blocks = layers(VACross)
        pixels = VIDEO_PATCH[1] * VIDEO_PATCH[2]
        self.final_layer = FinalLayer(dim, pixels * 2 * config.in_channels, **shared)
        self.audio_final_layer = FinalLayer(dim, config.audio_patch * 2 * config.audio_channels, **shared)

    def null_prior(self) -> PriorTokens:
        """The learned embedding of an absent prior, before projection."""
        spatial, temporal = self.st_prior_embedder.y_embedding.split(
            (self.config.spatial_prior_len, self.config.temporal_prior_len)
        )
        return PriorTokens(spatial[None], temporal[None])

    def forward(
        self,
        x: Streams[Tensor],
        timestep: Float[Tensor, " b"],
        text: Float[Tensor, "b m k"],
        text_mask: Bool[Tensor, "b m"] | None,
        prior: PriorTokens,
        *,
        size: tuple[float, float],
        fps: float,
        noisy: Streams[Tensor] | None = None,
        route: Streams[Tensor] | None = None,
        timed: Streams[Tensor] | None = None,
        attend: Attend = sdpa,
    ) -> Streams[Tensor]:
        """text: T5 states; for the null text, rows of ``y_embedder.y_embedding`` under the prompt's mask. size: height and width in
        pixels. noisy: [b, latent frames] bool for each stream, False where a frame is clean (``None``: all are noisy). route: [b] bool
        for each stream, whether it reads the other stream (``None``: it does). timed: log-shares of the text tokens at the latent frames
        of each stream, [b, n, m] (``guidance.timed``; ``None``: every frame reads all tokens in ``text_mask``, or all tokens if that
        is ``None`` as well). attend: the attention function."""
        dtype = x.both()[0].dtype
        rate = self.fps_embedder(torch.full_like(timestep, fps, dtype=dtype))
        t, zero = (self.t_embedder(z.to(dtype)) + rate for z in (timestep, torch.zeros_like(timestep)))
        tokens = self._tokens(x, size)
        masks = noisy or Streams()
        masks = Streams(masks.video, None if masks.audio is None else masks.audio[:, :: self.config.audio_patch])
        levels = self._levels(t, zero, masks)
        windows = (timed or Streams()).map(stream_windows, tokens)
        words = Streams(self.y_embedder, self.audio_y_embedder).map(
            lambda e, w: (e.y_proj(text), text_mask, w), windows
        )
        prior = PriorTokens(
            self.st_prior_embedder.y_proj(prior.spatial), self.st_prior_embedder.y_proj(prior.temporal), prior.own
        )
        ticks = tokens.map(lambda z: torch.arange(z.shape[1], device=z.device))
        rotary = ticks.map(lambda n: pair_table(n[:, None] * self.rope.freqs.to(n.device)))
        for i in range(self.config.depth):
            tokens = self._within(i, tokens, levels, words, rotary, attend)
            priors = Streams(self.video_st_prior_blocks[i], self.audio_st_prior_blocks[i])
            tokens = tokens.map(lambda z, block, level: block(z, level[1], prior), priors, levels)
            tokens = self.va_cross_blocks[i](tokens, route or Streams(), attend=attend)
        clean = masks.map(lambda m: (zero, ~m))
        out = tokens.map(lambda z, last, c: last(z, t, c), Streams(self.final_layer, self.audio_final_layer), clean)
        return self._latents(out, x)

    def _within(
        self,
        i: int,
        tokens: Streams[Tensor],
        levels: Streams[tuple[Tensor, Tensor]],
        words: Streams[tuple[Tensor, Tensor | None, SegmentSplit | None]],
        rotary: Streams[Tensor],
        attend: Attend,
    ) -> Streams[Tensor]:
        """Layer ``i`` within each stream: over space or mel bins, then over time."""
        space = Streams(self.spatial_blocks[i], self.audio_spatial_blocks[i])
        time = Streams(self.temporal_blocks[i], self.audio_temporal_blocks[i])
        tokens = tokens.map(lambda z, block, level, w: block(z, level[0], w, attend=attend), space, levels, words)
        return tokens.map(
            lambda z, block, level, w, r: block(z, level[0], w, r, attend=attend), time, levels, words, rotary
        )

    def _levels(self, t: Tensor, zero: Tensor, masks: Streams[Tensor]) -> Streams[tuple[Tensor, Tensor]]:
        """Six and nine rows of modulation for each frame of both streams, [b, t or 1, rows, c]."""
        rows = [(block(t)[:, None], block(zero)[:, None]) for block in (self.t_block, self.st_t_block)]

        def level(mask: Tensor | None) -> tuple[Tensor, Tensor]:
            chosen = (a if mask is None else torch.where(mask[:, :, None], a, b) for a, b in rows)
            six, nine = (z.unflatten(-1, (-1, self.config.hidden_size)) for z in chosen)
            return six, nine

        return Streams(level(masks.video), level(masks.audio))

    def _tokens(self, x: Streams[Tensor], size: tuple[float, float]) -> Streams[Tensor]:
        """Patches [b, t, s, c] plus position embeddings: rows and columns for video, mel bins for audio."""
        video, audio = x.both()
        rows, columns = video.shape[-2:]
        video = self.x_embedder.proj(F.pad(video, (0, columns % 2, 0, rows % 2)))
        h, w = video.shape[-2:]
        video = rearrange(video, "b c t h w -> b t (h w) c")
        audio = rearrange(self.ax_embedder.proj(audio), "b c t m -> b t m c")
        dim, like = self.config.hidden_size, video
        # A tensor, not a number: a number would interrupt the graph of torch.compile. Rounded to the network's dtype, as in the reference.
        sides = torch.tensor(size, dtype=like.dtype, device=like.device).float()
        grid = frame_positions(h, w, sides, dim)
        bins = sincos_1d(torch.arange(audio.shape[2], device=like.device, dtype=torch.float32), dim)
        return Streams(video + grid.to(like.dtype), audio + bins.to(like.dtype))

    def _latents(self, out: Streams[Tensor], x: Streams[Tensor]) -> Streams[Tensor]:
        """Latents in float32 from patches; the first half of the channels is the velocity."""
        rows, columns = x.both()[0].shape[-2:]
        video, audio = out.both()
        video = rearrange(video, "b t (h w) (p q c) -> b c t (h p) (w q)", h=-(-rows // 2), p=2, q=2)
        audio = rearrange(audio, "b t m (p c) -> b c (t p) m", p=self.config.audio_patch)
        video = video[..., :rows, :columns]
        return Streams(video, audio).map(lambda z: z.float().chunk(2, dim=1)[0])
