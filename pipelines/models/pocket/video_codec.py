"""The pocket video codec: a linear encoder (PCA of patches) and a learnt decoder.

Letters: b batch, t/h/w latent frames/rows/columns, c latent channels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...core.schema import Depth, Length, Width
from ...core.sizes import VIDEO_STRIDE
from .pca import PatchPCA

Widths = Annotated[tuple[Width, ...], Length(0, 3)]
Depths = Annotated[tuple[Depth, ...], Length(0, 3)]


class ConvBlock(nn.Module):
    """x + a 3-tap convolution in time of a 3 x 3 one in space, after a norm over channels (no statistic runs over time)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.space = nn.Conv2d(width, width, 3, padding=1)
        self.time = nn.Linear(3 * width, width)

    def forward(self, x: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t h w c"]:
        pictures = self.norm(x).flatten(0, 1).permute(0, 3, 1, 2)
        hidden = nn.functional.gelu(self.space(pictures).permute(0, 2, 3, 1).unflatten(0, x.shape[:2]))
        padded = nn.functional.pad(hidden, (0, 0, 0, 0, 0, 0, 1, 1))
        return x + self.time(torch.cat([padded[:, :-2], hidden, padded[:, 2:]], dim=-1))


class Enlarge(nn.Module):
    """A linear map of each cell into a block of ``factors`` (frames, rows, columns) smaller cells."""

    def __init__(self, width: int, out: int, *, factors: tuple[int, int, int]) -> None:
        super().__init__()
        self.factors = factors
        self.linear = nn.Linear(width, out * math.prod(factors))

    def forward(self, x: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b frames rows columns out"]:
        p, q, r = self.factors
        return rearrange(self.linear(x), "b t h w (c p q r) -> b (t p) (h q) (w r) c", p=p, q=q, r=r)


class Refiner(nn.Module):
    """Predicts, from the latents of a cell and its neighbours, a correction of every pixel of the linear inverse.

    Three levels: latent cells, then twice and four times as many frames, rows and columns. ``widths`` and ``depths`` are the channels and
    the blocks of each level.
    """

    def __init__(self, channels: int, *, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        first, second, third = widths
        levels = [[ConvBlock(width) for _ in range(depth)] for width, depth in zip(widths, depths, strict=True)]
        self.net = nn.Sequential(
            nn.Linear(channels, first),
            *levels[0],
            Enlarge(first, second, factors=(2, 2, 2)),
            *levels[1],
            Enlarge(second, third, factors=(2, 2, 2)),
            *levels[2],
            nn.GELU(),
            Enlarge(third, 3, factors=(1, 2, 2)),
        )
        # Latent frames on either side that a pixel depends on: a block of level k reaches 1 / 2^k of a latent frame.
        self.reach = math.ceil(sum(depth / 2**level for level, depth in enumerate(depths)))

    def forward(self, z: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b frames 3 height width"]:
        return self.net(z.movedim(1, -1)).movedim(-1, 2)


class VideoCodec(nn.Module):
    """Frames [b, t*4, 3, h*8, w*8] in 0..1 <-> latents [b, c, t, h, w]. Every latent frame covers four frames.

    The encoder is linear; the decoder is its linear inverse plus ``Refiner`` (no ``widths``: the linear inverse alone).
    """

    stride = VIDEO_STRIDE
    CHUNK = 16  # latent frames decoded at once, so that a long clip needs no more memory than four seconds

    def __init__(self, *, channels: Width, widths: Widths = (), depths: Depths = ()) -> None:
        super().__init__()
        self.channels = channels
        self.config = {"channels": channels, "widths": list(widths), "depths": list(depths)}
        self.pca = PatchPCA(3 * math.prod(VIDEO_STRIDE), channels)
        self.refiner = Refiner(channels, widths=widths, depths=depths) if widths else None

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
        frames = rearrange(patches, "b t h w (rgb p q r) -> b (t p) rgb (h q) (w r)", rgb=3, p=p, q=q, r=r)
        return frames if self.refiner is None else frames + self.refiner(latent)

    def stream(self, latent: Float[Tensor, "b c t h w"]) -> Iterator[Float[Tensor, "b frames 3 height width"]]:
        """The same frames as ``decode`` returns, ``CHUNK`` latent frames at a time, each with the neighbours it needs."""
        reach, count = 0 if self.refiner is None else self.refiner.reach, latent.shape[2]
        for start in range(0, count, self.CHUNK):
            first, stop = max(0, start - reach), min(count, start + self.CHUNK)
            frames = self.pixels(latent[:, :, first : min(count, stop + reach)])
            skip = (start - first) * VIDEO_STRIDE[0]
            yield frames[:, skip : skip + (stop - start) * VIDEO_STRIDE[0]].clamp(0, 1)

    def decode(self, latent: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b frames 3 height width"]:
        return torch.cat(list(self.stream(latent)), dim=1)
