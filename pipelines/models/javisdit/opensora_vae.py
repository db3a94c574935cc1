"""Open-Sora's video autoencoder v1.2 (arXiv 2412.20404): a spatial autoencoder for each frame, then a temporal one over its latents.

Frames are processed in chunks of 17, which become 5 latent frames. Attribute names are the official checkpoint keys.

Letters: b batch, c channels, t frames, h/w rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .autoencoder import SDXL_VAE, AutoencoderKL, KLConfig

CHUNK, CHUNK_LATENTS = 17, 5  # frames in, latent frames out
STRIDE = 4  # frames of one latent frame
SPATIAL_SCALE = 0.18215  # as in the reference; the spatial weights' own factor would be 0.13025
MICRO_BATCH = 4  # frames that the spatial half processes at once
SCALE, SHIFT = (3.85, 2.32, 2.33, 3.06), (-0.10, 0.34, 0.27, 0.98)
Video = Float[Tensor, "b _ _ _ _"]


@dataclass(frozen=True)
class TemporalConfig:
    """Sizes; the defaults are the released ones."""

    channels: int = 4
    latent_channels: int = 4
    filters: int = 128
    num_res_blocks: int = 4
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 4)
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    num_groups: int = 32


class CausalConv(nn.Module):
    """A convolution that reads no later frame: zero padding before the first frame and around each frame."""

    def __init__(self, inside: int, out: int, kernel: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.before = kernel - 1 + (1 - stride)
        self.conv = nn.Conv3d(
            inside, out, kernel, stride=(stride, 1, 1), padding=(0, kernel // 2, kernel // 2), bias=bias
        )

    def forward(self, x: Video) -> Video:
        return self.conv(F.pad(x, (0, 0, 0, 0, self.before, 0)))


class ResBlock(nn.Module):
    """Two causal convolutions, each after a group norm, and a shortcut."""

    def __init__(self, inside: int, out: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, inside), nn.GroupNorm(groups, out)
        self.conv1, self.conv2 = CausalConv(inside, out, 3, bias=False), CausalConv(out, out, 3, bias=False)
        self.conv3 = CausalConv(inside, out, 1, bias=False) if inside != out else nn.Identity()

    def forward(self, x: Video) -> Video:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.conv3(x) + self.conv2(F.silu(self.norm2(h)))


def _blocks(inside: int, out: int, config: TemporalConfig) -> nn.Sequential:
    count = config.num_res_blocks
    return nn.Sequential(*(ResBlock(inside if i == 0 else out, out, config.num_groups) for i in range(count)))


class TemporalEncoder(nn.Module):
    """Spatial latents of frames to the moments of a quarter as many latent frames."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        widths = [config.filters * m for m in config.channel_multipliers]
        self.conv_in = CausalConv(config.channels, config.filters, 3, bias=False)
        self.block_res_blocks = nn.ModuleList(_blocks(a, b, config) for a, b in pairwise((config.filters, *widths)))
        self.conv_blocks = nn.ModuleList(
            CausalConv(width, width, 3, stride=2) if halved else nn.Identity()
            for width, halved in zip(widths, config.temporal_downsample, strict=False)
        )
        self.res_blocks = _blocks(widths[-1], widths[-1], config)
        self.norm1 = nn.GroupNorm(config.num_groups, widths[-1])
        self.conv2 = CausalConv(widths[-1], 2 * config.latent_channels, 1)

    def forward(self, x: Video) -> Video:
        x = self.conv_in(x)
        for i, blocks in enumerate(self.block_res_blocks):
            x = blocks(x)
            if i < len(self.conv_blocks):
                x = self.conv_blocks[i](x)
        return self.conv2(F.silu(self.norm1(self.res_blocks(x))))


class TemporalDecoder(nn.Module):
    """Latent frames to spatial latents of frames; each doubling unfolds the channels of one frame into two frames."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        widths = [config.filters * m for m in config.channel_multipliers]
        self.conv1 = CausalConv(config.latent_channels, widths[-1], 3)
        self.res_blocks = _blocks(widths[-1], widths[-1], config)
        self.block_res_blocks = nn.ModuleList(
            _blocks(above, width, config) for width, above in zip(widths, (*widths[1:], widths[-1]), strict=True)
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv(width, 2 * width, 3) if doubled else nn.Identity()
            for width, doubled in zip(widths[1:], config.temporal_downsample, strict=True)
        )
        self.norm1 = nn.GroupNorm(config.num_groups, widths[0])
        self.conv_out = CausalConv(widths[0], config.channels, 3)
        self.doubled = config.temporal_downsample

    def forward(self, z: Video) -> Video:
        z = self.res_blocks(self.conv1(z))
        for i in reversed(range(len(self.block_res_blocks))):
            z = self.block_res_blocks[i](z)
            if i and self.doubled[i - 1]:
                z = rearrange(self.conv_blocks[i - 1](z), "b (c two) t h w -> b c (t two) h w", two=2)
        return self.conv_out(F.silu(self.norm1(z)))


class TemporalVAE(nn.Module):
    """The temporal half, which works on multiples of four frames."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        self.encoder, self.decoder, latent = TemporalEncoder(config), TemporalDecoder(config), config.latent_channels
        self.quant_conv, self.post_quant_conv = CausalConv(2 * latent, 2 * latent, 1), CausalConv(latent, latent, 1)

    def moments(self, x: Video) -> tuple[Video, Video]:
        """Mean and log variance; zero frames are prepended up to a multiple of four."""
        padded = F.pad(x, (0, 0, 0, 0, -x.shape[2] % STRIDE, 0))
        mean, log_variance = self.quant_conv(self.encoder(padded)).chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, z: Video, frames: int) -> Video:
        """The last ``frames`` of the decoded frames; the frames before them correspond to the padding."""
        return self.decoder(self.post_quant_conv(z))[:, :, -frames:]


class OpenSoraVAE(nn.Module):
    """Frames [b, 3, t, h, w] in -1..1 to normalised latents [b, 4, t', h / 8, w / 8], and back."""

    scale: Tensor
    shift: Tensor

    def __init__(self, temporal: TemporalConfig | None = None, spatial: KLConfig = SDXL_VAE) -> None:
        super().__init__()
        self.spatial_vae = nn.ModuleDict({"module": AutoencoderKL(spatial)})
        self.temporal_vae = TemporalVAE(temporal or TemporalConfig())
        for name, values in (("scale", SCALE), ("shift", SHIFT)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1, 1))

    @property
    def spatial(self) -> AutoencoderKL:
        """The half that encodes single frames."""
        return cast(AutoencoderKL, self.spatial_vae["module"])

    def encode(self, frames: Video, *, generator: torch.Generator | None = None) -> Video:
        """A sample of the latents, drawn as in the reference; without a ``generator`` their mean."""
        flat = rearrange(frames, "b c t h w -> (b t) c h w").split(MICRO_BATCH)
        latents = torch.cat([_draw(self.spatial.moments(part), generator) for part in flat]) * SPATIAL_SCALE
        chunks = rearrange(latents, "(b t) c h w -> b c t h w", b=len(frames)).split(CHUNK, dim=2)
        z = torch.cat([_draw(self.temporal_vae.moments(part), generator) for part in chunks], dim=2)
        return (z - self.shift) / self.scale

    def decode(self, z: Video, *, frames: int) -> Video:
        """``frames`` frames in -1..1, decoded chunk by chunk.

        Raises:
            ValueError: ``z`` does not have the latent frames of ``frames`` frames.
        """
        if z.shape[2] != latent_frames(frames):
            raise ValueError(
                f"The latent has {z.shape[2]} latent frames; {frames} frames need {latent_frames(frames)}. Pass the clip's frame count."
            )
        chunks = (z * self.scale + self.shift).split(CHUNK_LATENTS, dim=2)
        lengths = (min(CHUNK, frames - CHUNK * i) for i in range(len(chunks)))
        latents = torch.cat([self.temporal_vae.decode(part, n) for part, n in zip(chunks, lengths, strict=True)], dim=2)
        flat = rearrange(latents / SPATIAL_SCALE, "b c t h w -> (b t) c h w").split(MICRO_BATCH)
        images = torch.cat([self.spatial.decode(part) for part in flat])
        return rearrange(images, "(b t) c h w -> b c t h w", b=len(z))


def latent_frames(frames: int) -> int:
    """The latent frames of ``frames`` frames: five for every 17, and one for every four or fewer of the rest."""
    whole, rest = divmod(frames, CHUNK)
    return CHUNK_LATENTS * whole + -(-rest // STRIDE)


def _draw(moments: tuple[Tensor, Tensor], generator: torch.Generator | None) -> Tensor:
    mean, log_variance = moments
    if generator is None:
        return mean
    return mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=generator).to(mean)
