"""The KL autoencoder of Stable Diffusion (arXiv 2112.10752) with the parameter names of diffusers, for images and for mel spectrograms.

Letters: b batch, c channels, h/w rows and columns (time and mel bins of a spectrogram).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EPS = 1e-6
Maps = Float[Tensor, "b _ _ _"]


@dataclass(frozen=True)
class KLConfig:
    """Sizes, named as in the files' config.json."""

    in_channels: int
    out_channels: int
    latent_channels: int
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    norm_num_groups: int = 32


SDXL_VAE = KLConfig(3, 3, 4, (128, 256, 512, 512), 2)  # the spatial half of Open-Sora's autoencoder
AUDIOLDM2_VAE = KLConfig(1, 1, 8, (128, 256, 512), 2)


class ResnetBlock(nn.Module):
    """Two convolutions, each after a group norm, and a shortcut."""

    def __init__(self, inside: int, out: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, inside, eps=EPS), nn.GroupNorm(groups, out, eps=EPS)
        self.conv1, self.conv2 = nn.Conv2d(inside, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inside, out, 1) if inside != out else nn.Identity()

    def forward(self, x: Maps) -> Maps:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class MapAttention(nn.Module):
    """Single-head self-attention over all cells."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Maps) -> Maps:
        cells = self.group_norm(x).flatten(2).transpose(1, 2)
        out = F.scaled_dot_product_attention(self.to_q(cells), self.to_k(cells), self.to_v(cells))
        return x + self.to_out[0](out).transpose(1, 2).view_as(x)


class MidBlock(nn.Module):
    """Residual, attention, residual."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([MapAttention(channels, groups)])
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, groups) for _ in range(2))

    def forward(self, x: Maps) -> Maps:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Downsample(nn.Module):
    """Halves each side; only the bottom and the right are padded."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Maps) -> Maps:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles each side by repetition, then convolves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Maps) -> Maps:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one resolution, then the layer that changes the resolution (``resample``: its name and the layer, or None)."""

    def __init__(
        self, inside: int, out: int, count: int, groups: int, *, resample: tuple[str, nn.Module] | None
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(inside if i == 0 else out, out, groups) for i in range(count))
        self.resample = resample[0] if resample else None
        if resample:
            self.add_module(resample[0], nn.ModuleList([resample[1]]))

    def forward(self, x: Maps) -> Maps:
        for block in self.resnets:
            x = block(x)
        return self.get_submodule(f"{self.resample}.0")(x) if self.resample else x


class Encoder(nn.Module):
    """Maps to the moments of the distribution of their latents."""

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for i, (inside, out) in enumerate(pairwise((widths[0], *widths))):
            resample = ("downsamplers", Downsample(out)) if i + 1 < len(widths) else None
            self.down_blocks.append(Level(inside, out, config.layers_per_block, groups, resample=resample))
        self.mid_block = MidBlock(widths[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Maps) -> Maps:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """Latents to maps."""

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels[::-1], config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.up_blocks = nn.ModuleList()
        for i, (inside, out) in enumerate(pairwise((widths[0], *widths))):
            resample = ("upsamplers", Upsample(out)) if i + 1 < len(widths) else None
            self.up_blocks.append(Level(inside, out, config.layers_per_block + 1, groups, resample=resample))
        self.mid_block = MidBlock(widths[0], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)

    def forward(self, z: Maps) -> Maps:
        z = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            z = level(z)
        return self.conv_out(F.silu(self.conv_norm_out(z)))


class AutoencoderKL(nn.Module):
    """Maps to a Gaussian over latents, and latents to maps. Scaling factors are applied by the caller."""

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        self.config, latent = config, config.latent_channels
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1), nn.Conv2d(latent, latent, 1)

    def moments(self, x: Maps) -> tuple[Maps, Maps]:
        """Mean and log variance of the latents."""
        mean, log_variance = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, z: Maps) -> Maps:
        return self.decoder(self.post_quant_conv(z))
