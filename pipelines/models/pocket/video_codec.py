"""The pocket video codec: a linear encoder (PCA of patches) and a learnt decoder.

Letters: b batch, t/h/w latent frames/rows/columns, c latent channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...core.schema import Between, Depth, Width
from ...core.sizes import VIDEO_STRIDE
from .pca import PatchPCA


class ConvBlock(nn.Module):
    """x + a 3x3 convolution in space and a 3-tap one in time, after a norm over channels (no statistic runs over time)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.space = nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        normed = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return x + self.time(nn.functional.gelu(self.space(normed)))


class Refiner(nn.Module):
    """Predicts, from the latents of a cell and its neighbours, a correction of every pixel of the linear inverse."""

    def __init__(self, channels: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.net = nn.Sequential(
            nn.Conv3d(channels, width, 1),
            *(ConvBlock(width) for _ in range(depth)),
            nn.GELU(),
            nn.Conv3d(width, 3 * math.prod(VIDEO_STRIDE), 1),
        )

    def forward(self, z: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b t h w patch"]:
        return self.net(z).movedim(1, -1)


class VideoCodec(nn.Module):
    """Frames [b, t*4, 3, h*8, w*8] in 0..1 <-> latents [b, c, t, h, w]. Every latent frame covers four frames.

    The encoder is linear; the decoder is its linear inverse plus ``Refiner`` (``depth`` 0: the linear inverse alone).
    """

    stride = VIDEO_STRIDE
    CHUNK = 16  # latent frames decoded at once, so that a long clip needs no more memory than four seconds

    def __init__(self, *, channels: Width, width: Annotated[int, Between(0, 65_536)] = 0, depth: Depth = 0) -> None:
        super().__init__()
        self.channels = channels
        self.config = {"channels": channels, "width": width, "depth": depth}
        self.pca = PatchPCA(3 * math.prod(VIDEO_STRIDE), channels)
        self.refiner = Refiner(channels, width=width, depth=depth) if depth else None

    @staticmethod
    def to_patches(frames: Tensor) -> Tensor:
        p, q, r = VIDEO_STRIDE
        return rearrange(frames, "b (t p) rgb (h q) (w r) -> b t h w (rgb p q r)", p=p, q=q, r=r)

    def encode(self, frames: Float[Tensor, "b frames 3 height width"]) -> Float[Tensor, "b c t h w"]:
        return rearrange(self.pca.encode(self.to_patches(frames)), "b t h w c -> b c t h w")

    def pixels(self, latent: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b frames 3 height width"]:
        """Frames before they are clamped to 0..1, all at once."""
        p, q, r = VIDEO_STRIDE
        patches = self.pca.decode(rearrange(latent, "b c t h w -> b t h w c"))
        if self.refiner is not None:
            patches = patches + self.refiner(latent)
        return rearrange(patches, "b t h w (rgb p q r) -> b (t p) rgb (h q) (w r)", rgb=3, p=p, q=q, r=r)

    def stream(self, latent: Float[Tensor, "b c t h w"]) -> Iterator[Float[Tensor, "b frames 3 height width"]]:
        """The same frames as ``decode`` returns, ``CHUNK`` latent frames at a time, each with the neighbours it needs."""
        reach, count = 0 if self.refiner is None else self.refiner.depth, latent.shape[2]
        for start in range(0, count, self.CHUNK):
            first, stop = max(0, start - reach), min(count, start + self.CHUNK)
            frames = self.pixels(latent[:, :, first : min(count, stop + reach)])
            skip = (start - first) * VIDEO_STRIDE[0]
            yield frames[:, skip : skip + (stop - start) * VIDEO_STRIDE[0]].clamp(0, 1)

    def decode(self, latent: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b frames 3 height width"]:
        return torch.cat(list(self.stream(latent)), dim=1)
