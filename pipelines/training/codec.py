"""Training of the video decoder: what the linear inverse leaves out, learnt from true clips and slightly noisy latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..bench.fidelity import moving, psnr
from ..core.sizes import ClipShape
from ..core.weights import save_weights, to_half
from ..models.pocket.video_codec import VideoCodec
from ..world import make_scenes, render_picture
from .data import RenderCache

HELD_OUT = 64
MOVING_WEIGHT = 4.0
LATENT_NOISE = 0.2  # greatest standard deviation of the noise added to latents: a network's are never exact


class _DecoderObjective(nn.Module):
    def __init__(self, codec: VideoCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        latent, frames = batch
        error = self.codec.pixels(latent).float() - frames
        weight = 1 + MOVING_WEIGHT * moving(frames)
        l1, mse = (weight * error.abs()).mean(), (weight * error.square()).mean()
        return {"loss": l1 + 4 * mse, "l1": l1.detach(), "mse": mse.detach()}


class VideoDecoderStage:
    """Latents of true clips, a little noise on them -> the clips. The encoder is not changed."""

    name = "video-decoder"

    def __init__(self, codec: VideoCodec, path: Path, *, cache: RenderCache) -> None:
        self.path, self.cache = path, cache
        self.objective = _DecoderObjective(codec)
        self.shape = ClipShape()

    @torch.no_grad()
    def batch(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        _, frames = self.cache.draw(size, generator)
        latent = self.objective.codec.encode(frames)
        level = LATENT_NOISE * torch.rand(size, generator=generator)[:, None, None, None, None]
        return latent + level * torch.randn(latent.shape, generator=generator), frames

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """PSNR of reconstructions of held-out compositions, for moving pixels and for all; the same for the linear inverse."""
        codec = self.objective.codec
        frames = render_picture(make_scenes(7_003, HELD_OUT, split="test"), self.shape)
        where, linear = moving(frames), VideoCodec(channels=codec.channels)
        linear.pca = codec.pca
        rows = {name: one.decode(codec.encode(frames)) for name, one in (("", codec), ("linear_", linear))}
        scores = {f"{name}psnr_moving": psnr(row, frames, where) for name, row in rows.items()}
        scores |= {f"{name}psnr": psnr(row, frames) for name, row in rows.items()}
        return {"score": scores["psnr_moving"], **scores}

    def save(self, record: dict[str, Any]) -> list[Path]:
        codec = self.objective.codec
        save_weights(self.path, to_half(codec), kind="video-codec", config=codec.config, record=record)
        return [self.path]
