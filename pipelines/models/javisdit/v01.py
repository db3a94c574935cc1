"""JavisDiT v0.1 (arXiv 2503.23377): video and audio branches, a spatio-temporal prior, bi-directional cross-attention.

Layer i in order: video attention within each frame, video attention over frames, audio attention over mel bins, audio attention over
time, prior attention in each stream, then cross-attention between the streams. Attribute names are the official checkpoint keys.

Letters: b batch, t frames (video) or time patches (audio), s patches of a frame or mel bins, c channels, m text tokens.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ....kernels.segment_attention import SegmentSplit
from ...core.conditions import PriorTokens
from ...core.streams import Streams
from .embeddings import CaptionEmbedding, PatchEmbedding, RotaryFrequencies, frame_positions, sincos_1d
from .layers import Attend, TimestepMlp, pair_table, sdpa
from .timed import stream_windows
from .v01_blocks import FREQUENCIES, FinalLayer, PriorBlock, STDiTBlock, V01Config, VACross

IMAGE_FPS = 120.0  # frame rate in the conditioning of a single frame
VIDEO_PATCH = (1, 2, 2)


class JavisDiT01(nn.Module):
    """Velocities (clean minus noise) of video [b, 4, t, h, w] and audio [b, 8, t, mel] latents at timesteps in 0..1000."""

    def __init__(self, config: V01Config, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config, dim = config, config.hidden_size
        self.checkpointed = False  # whether layers are computed again in the backward pass, to save memory
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
        audio_text: Float[Tensor, "b m k"] | None = None,
        attend: Attend = sdpa,
    ) -> Streams[Tensor]:
        """text: T5 states; for the null text, rows of ``y_embedder.y_embedding`` under the prompt's mask. size: height and width in
        pixels. noisy: [b, latent frames] bool for each stream, False where a frame is clean (``None``: all are noisy). route: [b] bool
        for each stream, whether it reads the other stream (``None``: it does). timed: log-shares of the text tokens at the latent frames
        of each stream, [b, n, m] (``guidance.timed``; ``None``: every frame reads all tokens in ``text_mask``, or all tokens if that
        is ``None`` as well). audio_text: what the audio stream reads instead of ``text``. attend: the attention function."""
        dtype = x.both()[0].dtype
        rate = self.fps_embedder(torch.full_like(timestep, fps, dtype=dtype))
        t, zero = (self.t_embedder(z.to(dtype)) + rate for z in (timestep, torch.zeros_like(timestep)))
        tokens = self._tokens(x, size)
        masks = noisy or Streams()
        masks = Streams(masks.video, None if masks.audio is None else masks.audio[:, :: self.config.audio_patch])
        levels = self._levels(t, zero, masks)
        windows = (timed or Streams()).map(stream_windows, tokens)
        states = Streams(text, text if audio_text is None else audio_text)
        words = Streams(self.y_embedder, self.audio_y_embedder).map(
            lambda e, z, w: (e.y_proj(z), text_mask, w), states, windows
        )
        prior = PriorTokens(
            self.st_prior_embedder.y_proj(prior.spatial), self.st_prior_embedder.y_proj(prior.temporal), prior.own
        )
        ticks = tokens.map(lambda z: torch.arange(z.shape[1], device=z.device))
        rotary = ticks.map(lambda n: pair_table(n[:, None] * self.rope.freqs.to(n.device)))
        layer = partial(checkpoint, self._layer, use_reentrant=False) if self.checkpointed else self._layer
        for i in range(self.config.depth):
            tokens = layer(i, tokens, levels, words, rotary, prior, route or Streams(), attend)
        clean = masks.map(lambda m: (zero, ~m))
        out = tokens.map(lambda z, last, c: last(z, t, c), Streams(self.final_layer, self.audio_final_layer), clean)
        return self._latents(out, x)

    def _layer(
        self,
        i: int,
        tokens: Streams[Tensor],
        levels: Streams[tuple[Tensor, Tensor]],
        words: Streams[tuple[Tensor, Tensor | None, SegmentSplit | None]],
        rotary: Streams[Tensor],
        prior: PriorTokens,
        route: Streams[Tensor],
        attend: Attend,
    ) -> Streams[Tensor]:
        """Layer ``i``: within each stream, the prior, the other stream."""
        tokens = self._within(i, tokens, levels, words, rotary, attend)
        priors = Streams(self.video_st_prior_blocks[i], self.audio_st_prior_blocks[i])
        tokens = tokens.map(lambda z, block, level: block(z, level[1], prior), priors, levels)
        return self.va_cross_blocks[i](tokens, route, attend=attend)

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
