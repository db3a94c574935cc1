"""The audio branch of JavisDiT v0.1 alone, as the official first stage of its training trains it: text to audio, without video, prior and
cross-attention between the streams. Attribute names are the official checkpoint keys.

Letters: b batch, a latent channels, t time, m mel bins, n text tokens, k their width.
"""

from __future__ import annotations

from functools import partial

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .embeddings import CaptionEmbedding, PatchEmbedding, RotaryFrequencies, sincos_1d
from .layers import TimestepMlp, pair_table, sdpa
from .v01_blocks import FREQUENCIES, FinalLayer, STDiTBlock, V01Config


class JavisDiT01Audio(nn.Module):
    """Velocities (clean minus noise) of audio latents [b, 8, t, mel] at timesteps in 0..1000."""

    def __init__(self, config: V01Config) -> None:
        super().__init__()
        self.config, dim = config, config.hidden_size
        self.checkpointed = False  # whether layers are computed again in the backward pass, to save memory
        self.rope = RotaryFrequencies(dim // config.num_heads)
        self.ax_embedder = PatchEmbedding(nn.Conv2d, config.audio_channels, dim, (config.audio_patch, 1))
        self.t_embedder = TimestepMlp(FREQUENCIES, dim, operations=nn)
        self.fps_embedder = TimestepMlp(FREQUENCIES, dim, operations=nn)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.audio_y_embedder = CaptionEmbedding(config.caption_channels, dim, config.model_max_length, operations=nn)
        self.audio_spatial_blocks, self.audio_temporal_blocks = (
            nn.ModuleList(STDiTBlock(config, operations=nn) for _ in range(config.depth)) for _ in range(2)
        )
        self.audio_final_layer = FinalLayer(dim, config.audio_patch * 2 * config.audio_channels, operations=nn)

    def forward(
        self,
        audio: Float[Tensor, "b a t m"],
        timestep: Float[Tensor, " b"],
        text: Float[Tensor, "b n k"],
        text_mask: Bool[Tensor, "b n"],
        *,
        fps: float,
    ) -> Float[Tensor, "b a t m"]:
        """``fps``: the frame rate of the video that the audio belongs to."""
        dtype, dim = audio.dtype, self.config.hidden_size
        rate = self.fps_embedder(torch.full_like(timestep, fps, dtype=dtype))
        t = self.t_embedder(timestep.to(dtype)) + rate
        level = self.t_block(t)[:, None].unflatten(-1, (-1, dim))
        tokens = rearrange(self.ax_embedder.proj(audio), "b c t m -> b t m c")
        bins = sincos_1d(torch.arange(tokens.shape[2], device=audio.device, dtype=torch.float32), dim)
        tokens = tokens + bins.to(tokens.dtype)
        words = self.audio_y_embedder.y_proj(text), text_mask, None
        ticks = torch.arange(tokens.shape[1], device=audio.device)
        rotary = pair_table(ticks[:, None] * self.rope.freqs)
        for over_bins, over_time in zip(self.audio_spatial_blocks, self.audio_temporal_blocks, strict=True):
            for block, turn in ((over_bins, None), (over_time, rotary)):
                run = partial(checkpoint, block, use_reentrant=False) if self.checkpointed else block
                tokens = run(tokens, level, words, turn, attend=sdpa)
        out = self.audio_final_layer(tokens, t, None)
        patches = rearrange(out, "b t m (p c) -> b c (t p) m", p=self.config.audio_patch)
        return patches.float().chunk(2, dim=1)[0]
