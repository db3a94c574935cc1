"""Synchformer (Iashin et al., arXiv 2401.16423): the offset between audio and video as one of 21 classes from -2 to +2 s.

A video transformer with divided space-time attention (Motionformer) and an audio spectrogram transformer give eight and six features
per segment of 0.64 s; a third transformer reads the features of 14 segments. No weights are included.

Letters: s segments, t time, h height, w width, m mel bands, n tokens, d channels, k classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PATCH, PATCH_FRAMES, AUDIO_STRIDE = 16, 2, 10  # pixels, frames; mel bands and spectrogram frames
SIDE, FRAMES, MELS, SPECTRA = 224, 16, 128, 66  # of a segment: pixels, frames, mel bands, spectrogram frames
SEGMENTS, CLASSES = 14, 21
# Names in the checkpoint -> names here, applied in this order.
RENAMED = (
    ("vfeat_extractor.spatial_attn_agg.", "video.summary."),
    ("vfeat_extractor.", "video."),
    ("afeat_extractor.freq_attn_agg.", "audio.summary."),
    ("afeat_extractor.ast.embeddings.patch_embeddings.projection.", "audio.patch_embed."),
    ("afeat_extractor.ast.embeddings.", "audio."),
    ("afeat_extractor.ast.encoder.layer.", "audio.blocks."),
    ("afeat_extractor.ast.layernorm.", "audio.norm."),
    (".patch_embed_3d.proj.", ".patch_embed."),
    (".attention.attention.", ".attn."),
    (".attention.output.dense.", ".attn.proj."),
    (".intermediate.dense.", ".mlp.0."),
    (".output.dense.", ".mlp.2."),
    (".layernorm_before.", ".ln1."),
    (".layernorm_after.", ".ln2."),
    (".mlp.fc1.", ".mlp.0."),
    (".mlp.fc2.", ".mlp.2."),
    ("transformer.pos_emb_cfg.pos_emb", "transformer.pos_emb"),
)
# Motionformer's embedding of single images is stored, but videos are embedded with patch_embed_3d only.
UNUSED = "vfeat_extractor.patch_embed.proj."


@dataclass(frozen=True)
class SynchformerConfig:
    """Sizes of the network; the defaults are those of the released weights."""

    channels: int = 768
    encoder_depth: int = 12
    encoder_heads: int = 12
    depth: int = 3
    heads: int = 8


def own_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint under the names of ``Synchformer``."""
    found = {}
    for name, value in tensors.items():
        if name.startswith(UNUSED):
            continue
        for old, new in RENAMED:
            name = name.replace(old, new)
        found[name] = value
    return found


class Attention(nn.Module):
    """Self-attention with separate projections."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.proj = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x: Float[Tensor, "s n d"]) -> Float[Tensor, "s n d"]:
        split = lambda z: z.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731 - one line, used three times
        mixed = F.scaled_dot_product_attention(*(split(p(x)) for p in (self.query, self.key, self.value)))
        return self.proj(mixed.transpose(1, 2).flatten(2))


class DividedAttention(nn.Module):
    """Attention of each patch to the class token and to the patches at its position in all frames, or to those of its frame (Bertasius et
    al., TimeSformer, arXiv 2102.05095). The class token attends to everything."""

    def __init__(self, channels: int, heads: int, *, over_time: bool) -> None:
        super().__init__()
        self.heads, self.over_time = heads, over_time
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Float[Tensor, "s n d"], frames: int) -> Float[Tensor, "s n d"]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [s, heads, n, d / heads]
        summary = F.scaled_dot_product_attention(q[:, :, :1], k, v)
        own = F.scaled_dot_product_attention(self._groups(q, frames), self._keys(k, frames), self._keys(v, frames))
        patches = (own.transpose(2, 3) if self.over_time else own).flatten(2, 3)
        return self.proj(torch.cat([summary, patches], 2).transpose(1, 2).flatten(2))

    def _groups(self, z: Tensor, frames: int) -> Tensor:
        """The patches as groups that attend to each other: [s, heads, groups, members, d / heads]."""
        patches = z[:, :, 1:].unflatten(2, (frames, -1))
        return patches.transpose(2, 3) if self.over_time else patches

    def _keys(self, z: Tensor, frames: int) -> Tensor:
        groups = self._groups(z, frames)
        return torch.cat([z[:, :, None, :1].expand(-1, -1, groups.shape[2], -1, -1), groups], 3)


def _mlp(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))


class VideoBlock(nn.Module):
    """Attention over time, over space, and an MLP, each with a residual."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels, eps=1e-6) for _ in range(3))
        self.timeattn = DividedAttention(channels, heads, over_time=True)
        self.attn = DividedAttention(channels, heads, over_time=False)
        self.mlp = _mlp(channels)

    def forward(self, x: Float[Tensor, "s n d"], frames: int) -> Float[Tensor, "s n d"]:
        x = x + self.timeattn(self.norm3(x), frames)
        x = x + self.attn(self.norm1(x), frames)
        return x + self.mlp(self.norm2(x))


class Block(nn.Module):
    """Attention and an MLP, each with a residual."""

    def __init__(self, channels: int, heads: int, *, eps: float) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(channels, eps=eps), nn.LayerNorm(channels, eps=eps)
        self.attn, self.mlp = Attention(channels, heads), _mlp(channels)

    def forward(self, x: Float[Tensor, "s n d"]) -> Float[Tensor, "s n d"]:
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class Summary(nn.TransformerEncoderLayer):
    """One transformer layer that summarises a sequence in its class token."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(
            channels,
            heads,
            dim_feedforward=4 * channels,
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=True,
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))

    def forward(self, x: Float[Tensor, "s n d"]) -> Float[Tensor, "s d"]:  # type: ignore[override]
        return super().forward(torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1))[:, 0]


class VideoEncoder(nn.Module):
    """Eight features of a video segment of 16 frames."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        d, patches = config.channels, (SIDE // PATCH) ** 2
        size = (PATCH_FRAMES, PATCH, PATCH)
        self.frames = FRAMES // PATCH_FRAMES
        self.patch_embed = nn.Conv3d(3, d, size, size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + 1, d))
        self.temp_embed = nn.Parameter(torch.zeros(1, self.frames, d))
        self.blocks = nn.ModuleList(VideoBlock(d, config.encoder_heads) for _ in range(config.encoder_depth))
        self.norm = nn.LayerNorm(d, eps=1e-6)
        self.summary = Summary(d, config.encoder_heads)

    def forward(self, frames: Float[Tensor, "s 3 t h w"]) -> Float[Tensor, "s t2 d"]:
        patches = self.patch_embed(frames).flatten(3).permute(0, 2, 3, 1)  # s, frames, patches, d
        placed = patches + self.pos_embed[:, None, 1:] + self.temp_embed[:, :, None]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(frames), -1, -1)
        x = torch.cat([first, placed.flatten(1, 2)], 1)
        for block in self.blocks:
            x = block(x, self.frames)
        x = self.norm(x[:, 1:]).unflatten(1, (self.frames, -1))
        return self.summary(x.flatten(0, 1)).unflatten(0, (-1, self.frames))


class AudioEncoder(nn.Module):
    """Six features of an audio segment, from its spectrogram."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        d = config.channels
        self.bands, self.times = ((size - PATCH) // AUDIO_STRIDE + 1 for size in (MELS, SPECTRA))
        self.patch_embed = nn.Conv2d(1, d, PATCH, AUDIO_STRIDE)
        self.cls_token, self.distillation_token = (nn.Parameter(torch.zeros(1, 1, d)) for _ in range(2))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 2 + self.bands * self.times, d))
        self.blocks = nn.Sequential(*(Block(d, config.encoder_heads, eps=1e-12) for _ in range(config.encoder_depth)))
        self.norm = nn.LayerNorm(d, eps=1e-12)
        self.summary = Summary(d, config.encoder_heads)

    def forward(self, spectra: Float[Tensor, "s m t"]) -> Float[Tensor, "s t2 d"]:
        patches = self.patch_embed(spectra[:, None]).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token, self.distillation_token], 1).expand(len(spectra), -1, -1)
        x = self.norm(self.blocks(torch.cat([tokens, patches], 1) + self.position_embeddings))
        by_time = x[:, 2:].unflatten(1, (self.bands, self.times)).transpose(1, 2)
        return self.summary(by_time.flatten(0, 1)).unflatten(0, (-1, self.times))


class Comparison(nn.Module):
    """Logits of the offset classes from the features of both streams."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        d = config.channels
        features = FRAMES // PATCH_FRAMES + (SPECTRA - PATCH) // AUDIO_STRIDE + 1
        self.vis_in_lnorm, self.aud_in_lnorm, self.ln_f = (nn.LayerNorm(d) for _ in range(3))
        self.OFF_tok, self.MOD_tok = (nn.Parameter(torch.zeros(1, 1, d)) for _ in range(2))
        self.pos_emb = nn.Parameter(torch.zeros(1, 2 + SEGMENTS * features, d))
        self.blocks = nn.Sequential(*(Block(d, config.heads, eps=1e-5) for _ in range(config.depth)))
        self.off_head = nn.Linear(d, CLASSES)

    def forward(self, video: Float[Tensor, "s n d"], audio: Float[Tensor, "s m d"]) -> Float[Tensor, "s k"]:
        off, mod = (token.expand(len(video), -1, -1) for token in (self.OFF_tok, self.MOD_tok))
        x = torch.cat([off, self.vis_in_lnorm(video), mod, self.aud_in_lnorm(audio)], 1) + self.pos_emb
        return self.off_head(self.ln_f(self.blocks(x))[:, 0])


class Synchformer(nn.Module):
    """The network. Segments are encoded on their own; ``compare`` reads the features of 14 consecutive segments."""

    def __init__(self, config: SynchformerConfig | None = None) -> None:
        super().__init__()
        config = config or SynchformerConfig()
        self.video, self.audio, self.transformer = VideoEncoder(config), AudioEncoder(config), Comparison(config)
        self.vproj, self.aproj = (nn.Linear(config.channels, config.channels) for _ in range(2))

    def compare(self, video: Float[Tensor, "s n d"], audio: Float[Tensor, "s m d"]) -> Float[Tensor, " k"]:
        """Logits of the classes from the features of 14 segments of both streams."""
        return self.transformer(self.vproj(video).flatten(0, 1)[None], self.aproj(audio).flatten(0, 1)[None])[0]
