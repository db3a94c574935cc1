"""Input and output layers of the pocket network: latents to tokens with a noise level, and tokens to latents.

Letters: b batch, c channels, t/h/w latent frames/rows/columns, l tokens, m text tokens, n noise levels (one, or one per latent
frame), p channels of a token.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...core.sines import sine_features
from ...core.sizes import PIXEL_STEP, VIDEO_PATCH
from ...core.streams import Streams
from .blocks import modulate
from .config import PocketConfig
from .geometry import SPAN

TIME_FEATURES = 128
PATCHES = "b (t h w) (c p q)"


def noise_features(sigma: Float[Tensor, "b n"]) -> Float[Tensor, "b n features"]:
    """[cos, sin] of the noise level in 0..1 at log-spaced frequencies from 1 to 1000 (float32)."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), TIME_FEATURES // 2, device=sigma.device))
    return sine_features(sigma.float()[..., None], frequencies, cosine_first=True)


class StreamEnds(nn.Module):
    """The layers before and after the blocks of one stream: embeddings of tokens and noise level, and the output layer."""

    def __init__(self, config: PocketConfig, *, channels: int, axes: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        dim = config.dim
        self.embed = operations.Linear(channels, dim, **factory)
        # Rotary embedding encodes only distances between tokens; rows and columns also need absolute positions.
        self.place = operations.Linear(4 * (axes - 1), dim, **factory) if axes > 1 else None
        self.noise = nn.Sequential(
            operations.Linear(TIME_FEATURES, dim, **factory), nn.SiLU(), operations.Linear(dim, dim, **factory)
        )
        self.pooled_text = operations.Linear(config.text_dim, dim, **factory)
        self.to_modulation = operations.Linear(dim, 6 * dim, **factory)
        self.to_last = operations.Linear(dim, 2 * dim, **factory)
        self.out = operations.Linear(dim, channels, **factory)

    def tokens(self, x: Float[Tensor, "b l p"], positions: Float[Tensor, "l a"]) -> Float[Tensor, "b l c"]:
        x = self.embed(x)
        if self.place is None:
            return x
        angles = positions[:, 1:] / SPAN * math.pi
        features = torch.cat([f(angles * k) for k in (1, 2) for f in (torch.sin, torch.cos)], dim=-1)
        return x + self.place(features.to(x.dtype))

    def noise_levels(
        self,
        sigma: Float[Tensor, "b n"],
        text: Float[Tensor, "b m s"],
        mask: Bool[Tensor, "b m"],
        *,
        tokens: int,
        timed: Float[Tensor, "b t m"] | None = None,
    ) -> Float[Tensor, "b n_or_l c"]:
        """Embedding of noise level and pooled text: one for all tokens, or one for each token if levels or texts differ between latent
        frames. ``timed``: log-shares of the text tokens at each latent frame, by which the mean is weighted."""
        if timed is None:
            pooled = (text * mask[..., None]).sum(1, keepdim=True) / mask.sum(1).clamp_min(1)[:, None, None]
        else:
            weights = timed.exp() * mask[:, None]
            pooled = (weights / weights.sum(-1, keepdim=True).clamp_min(1e-6)).to(text.dtype) @ text
        level = F.silu(self.noise(noise_features(sigma).to(text.dtype)) + self.pooled_text(pooled))
        return level if level.shape[1] == 1 else level.repeat_interleave(tokens // level.shape[1], dim=1)

    def clean(self, x: Float[Tensor, "b l c"], level: Tensor) -> Float[Tensor, "b l p"]:
        return self.out(modulate(x, *self.to_last(level).chunk(2, dim=-1)))


def to_tokens(x: Streams[Tensor]) -> Streams[Tensor]:
    """Latents as tokens [b, l, p]: video in patches, audio with one token per latent frame.

    Raises:
        ValueError: rows or columns of the video latent are not a multiple of the patch.
    """
    video = None
    if x.video is not None:
        rows, columns = x.video.shape[-2:]
        if rows % VIDEO_PATCH or columns % VIDEO_PATCH:
            raise ValueError(
                f"The video latent is {rows} x {columns} cells; "
                f"both must be multiples of {VIDEO_PATCH}. Use a width and height in steps of {PIXEL_STEP} pixels."
            )
        video = rearrange(x.video, f"b c t (h p) (w q) -> {PATCHES}", p=VIDEO_PATCH, q=VIDEO_PATCH)
    return Streams(video, None if x.audio is None else x.audio.transpose(1, 2))


def to_latents(tokens: Streams[Tensor], like: Streams[Tensor]) -> Streams[Tensor]:
    """The inverse of ``to_tokens``, in the sizes of ``like``."""
    video = None
    if tokens.video is not None and like.video is not None:
        h, w = (n // VIDEO_PATCH for n in like.video.shape[-2:])
        video = rearrange(tokens.video, f"{PATCHES} -> b c t (h p) (w q)", h=h, w=w, p=VIDEO_PATCH, q=VIDEO_PATCH)
    return Streams(video, None if tokens.audio is None else tokens.audio.transpose(1, 2))
