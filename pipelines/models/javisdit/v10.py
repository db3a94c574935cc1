"""JavisDiT++ v1.0 (arXiv 2602.19163): Wan2.1-T2V-1.3B with audio tokens in the same self-attention and a separate feed-forward for them.

The sequence is all video tokens (frame, row, column), then all audio tokens (time, mel). Attribute names are the official checkpoint
keys.

Letters: b batch, l tokens, m text tokens, h heads, d head width, c channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ....kernels.segment_attention import SegmentSplit, segment_attention
from ...core.streams import Streams
from .layers import Attend, cast_like, modulate, pair_table, rotate_pairs, sdpa, timestep_features
from .timed import joint_windows

PATCH = 2  # rows and columns of video, time and mel of audio
EPS = 1e-6


@dataclass(frozen=True)
class V10Config:
    """Sizes; the defaults are the released ones."""

    dim: int = 1536
    ffn_dim: int = 8960
    num_layers: int = 30
    num_heads: int = 12
    freq_dim: int = 256
    text_dim: int = 4096
    text_len: int = 512
    in_dim: int = 16
    audio_in_dim: int = 8


class Attention(nn.Module):
    """Queries and keys are RMS-normalised over all channels before they are split into heads."""

    def __init__(self, dim: int, heads: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (operations.Linear(dim, dim, **factory) for _ in range(4))
        self.norm_q = operations.RMSNorm(dim, eps=EPS, **factory)
        self.norm_k = operations.RMSNorm(dim, eps=EPS, **factory)

    def forward(
        self,
        x: Float[Tensor, "b l c"],
        source: Float[Tensor, "b m c"],
        *,
        rotary: Float[Tensor, "two l half"] | None = None,
        split: SegmentSplit | None = None,
        attend: Attend = sdpa,
    ) -> Float[Tensor, "b l c"]:
        """``rotary`` rotates queries and keys; ``split`` closes directions of attention between the streams of the sequence."""
        heads = lambda z: rearrange(z, "b l (h d) -> b h l d", h=self.heads)  # noqa: E731 - three uses
        q, k, v = heads(self.norm_q(self.q(x))), heads(self.norm_k(self.k(source))), heads(self.v(source))
        if rotary is not None:
            q, k = rotate_pairs(q, rotary), rotate_pairs(k, rotary)
        out = attend(q, k, v) if split is None else segment_attention(attend, q, k, v, split)
        return self.o(rearrange(out, "b h l d -> b l (h d)"))


class FeedForward(nn.Sequential):
    """Linear, tanh GELU, linear."""

    def __init__(self, dim: int, hidden: int, *, operations: Any, **factory: Any) -> None:
        gelu = nn.GELU(approximate="tanh")
        super().__init__(operations.Linear(dim, hidden, **factory), gelu, operations.Linear(hidden, dim, **factory))


class AudioModulation(nn.Module):
    """Shift, scale and gate of the audio feed-forward."""

    def __init__(self, dim: int, **factory: Any) -> None:
        super().__init__()
        self.param = nn.Parameter(torch.empty(1, 3, dim, **factory))


class Block(nn.Module):
    """Joint self-attention with the video's modulation, text cross-attention, then a feed-forward for each stream."""

    def __init__(self, config: V10Config, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        dim, shared = config.dim, {"operations": operations, **factory}
        self.modulation = nn.Parameter(torch.empty(1, 6, dim, **factory))
        self.audio_modulation = AudioModulation(dim, **factory)
        self.self_attn = Attention(dim, config.num_heads, **shared)
        self.cross_attn = Attention(dim, config.num_heads, **shared)
        self.norm3 = operations.LayerNorm(dim, eps=EPS, **factory)
        self.ffn, self.audio_ffn = (
            FeedForward(dim, config.ffn_dim, **shared),
            FeedForward(dim, config.ffn_dim, **shared),
        )

    def forward(
        self,
        x: Float[Tensor, "b l c"],
        levels: tuple[Float[Tensor, "b 6 c"], Float[Tensor, "b 3 c"]],
        text: Float[Tensor, "b m c"],
        *,
        video: int,
        rotary: Tensor,
        split: SegmentSplit | None,
        windows: SegmentSplit | None = None,
        attend: Attend,
    ) -> Float[Tensor, "b l c"]:
        """``video`` is the number of video tokens; ``windows``: which text tokens each token reads."""
        shift1, scale1, gate1, *second = (cast_like(self.modulation, x) + levels[0])[:, :, None].unbind(1)
        normed = modulate(x, shift1, scale1)
        x = x + gate1 * self.self_attn(normed, normed, rotary=rotary, split=split, attend=attend)
        x = x + self.cross_attn(self.norm3(x), text, split=windows, attend=attend)
        third = (cast_like(self.audio_modulation.param, x) + levels[1])[:, :, None].unbind(1)
        parts = []
        for part, feed, (shift, scale, gate) in (
            (x[:, :video], self.ffn, second),
            (x[:, video:], self.audio_ffn, third),
        ):
            parts.append(part + gate * feed(modulate(part, shift, scale)))
        return torch.cat(parts, dim=1)


class Head(nn.Module):
    """Modulated norm and a projection to patches, in float32."""

    def __init__(self, dim: int, out: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.modulation = nn.Parameter(torch.empty(1, 2, dim, **factory))
        self.head = operations.Linear(dim, out, **factory)

    def forward(self, x: Float[Tensor, "b l c"], e: Float[Tensor, "b c"]) -> Float[Tensor, "b l o"]:
        shift, scale = (cast_like(self.modulation, e) + e[:, None])[:, :, None].unbind(1)
        return self.head(modulate(x.float(), shift, scale).to(x.dtype)).float()


class JavisDiT10(nn.Module):
    """Velocities (clean minus noise) of video [b, 16, t, h, w] and audio [b, 8, t, mel] latents at timesteps in 0..1000."""

    def __init__(self, config: V10Config, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config, dim, linear = config, config.dim, operations.Linear
        self.checkpointed = False  # whether blocks are computed again in the backward pass, to save memory
        shared = {"operations": operations, **factory}
        patch = (1, PATCH, PATCH)
        self.patch_embedding = operations.Conv3d(config.in_dim, dim, patch, stride=patch, **factory)
        self.audio_patch_embedding = operations.Conv2d(config.audio_in_dim, dim, PATCH, stride=PATCH, **factory)
        gelu = nn.GELU(approximate="tanh")
        self.text_embedding = nn.Sequential(linear(config.text_dim, dim, **factory), gelu, linear(dim, dim, **factory))
        self.time_embedding = nn.Sequential(
            linear(config.freq_dim, dim, **factory), nn.SiLU(), linear(dim, dim, **factory)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), linear(dim, 6 * dim, **factory))
        self.audio_time_projection = nn.Sequential(nn.SiLU(), linear(dim, 3 * dim, **factory))
        self.blocks = nn.ModuleList(Block(config, **shared) for _ in range(config.num_layers))
        self.head = Head(dim, PATCH**2 * config.in_dim, **shared)
        self.audio_head = Head(dim, PATCH**2 * config.audio_in_dim, **shared)

    def forward(
        self,
        x: Streams[Tensor],
        timestep: Float[Tensor, " b"],
        text: Float[Tensor, "b m k"],
        text_mask: Bool[Tensor, "b m"],
        *,
        a2v: bool = True,
        v2a: bool = True,
        timed: Streams[Tensor] | None = None,
        attend: Attend = sdpa,
    ) -> Streams[Tensor]:
        """text: UMT5 states; rows outside ``text_mask`` are set to zero and not masked, as in training. A closed direction splits the
        attention by stream; the network was not trained for this. timed: log-shares of the text tokens at the latent frames of each
        stream, [b, n, m] (``guidance.timed``). attend: the attention function."""
        video_latent, audio_latent = x.both()
        dtype = video_latent.dtype
        several = timed if timed is not None and timed.present() else None
        missing = 0 if several else self.config.text_len - text.shape[1]  # one text is padded or cut, as in training
        words = self.text_embedding(F.pad(text * text_mask[..., None], (0, 0, 0, missing)).to(dtype))
        features = timestep_features(timestep.to(dtype), self.config.freq_dim, dtype=torch.float64)
        e = self.time_embedding(features.to(dtype))
        width = self.config.dim
        levels = (
            self.time_projection(e).unflatten(-1, (6, width)),
            self.audio_time_projection(e).unflatten(-1, (3, width)),
        )
        video, audio = self.patch_embedding(video_latent), self.audio_patch_embedding(audio_latent)
        grid = (*video.shape[2:], *audio.shape[2:])
        count = video[0, 0].numel()
        tokens = torch.cat([video.flatten(2), audio.flatten(2)], dim=2).transpose(1, 2)
        # Angles in float64, the rotation itself in float32: 1e-6 from the reference, which rotates in complex128.
        rotary = pair_table(rotations(grid, self.config.dim // self.config.num_heads)).float().to(tokens.device)
        segments = [(0, count, "video"), (count, tokens.shape[1], "audio")]
        split = None if a2v and v2a else SegmentSplit.of(segments, a2v=a2v, v2a=v2a)
        windows = joint_windows(several, grid, tokens) if several else None
        rest = {"video": count, "rotary": rotary, "split": split, "windows": windows, "attend": attend}
        for block in self.blocks:
            run = partial(checkpoint, block, use_reentrant=False) if self.checkpointed else block
            tokens = run(tokens, levels, words, **rest)
        t, h, w, time, mel = grid
        patches = self.head(tokens[:, :count], e), self.audio_head(tokens[:, count:], e)
        video = rearrange(patches[0], "b (t h w) (p q c) -> b c t (h p) (w q)", t=t, h=h, w=w, p=PATCH, q=PATCH)
        audio = rearrange(patches[1], "b (t m) (p q c) -> b c (t p) (m q)", t=time, m=mel, p=PATCH, q=PATCH)
        return Streams(-video, -audio)  # the network predicts noise minus clean


def rotations(grid: tuple[int, int, int, int, int], width: int) -> Float[Tensor, "l half"]:
    """Temporally aligned rotary angles (TA-RoPE) in float64, for the axes time, row and column. An audio token has the time of the
    latent frame that it falls into, and a row and column beyond the video's, so that no two tokens share a position."""
    frames, rows, columns, time, mel = grid
    video = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in (frames, rows, columns)))
    moments = torch.linspace(
        0, frames - 1, time, dtype=torch.float64
    ).ceil()  # the reference's formula; another may round differently
    ticks = torch.arange(time, dtype=torch.float64)
    audio = torch.stack(
        [
            moments[:, None].expand(-1, mel),
            (rows + ticks)[:, None].expand(-1, mel),
            (columns + torch.arange(mel, dtype=torch.float64))[None].expand(time, -1),
        ],
        dim=-1,
    ).flatten(0, 1)
    third = 2 * (width // 6)
    widths = (width - 2 * third, third, third)
    axes = torch.cat([video, audio]).unbind(1)
    parts = (
        p[:, None] * 10000 ** (-torch.arange(0, n, 2, dtype=torch.float64) / n)
        for p, n in zip(axes, widths, strict=True)
    )
    return torch.cat(list(parts), dim=1)
