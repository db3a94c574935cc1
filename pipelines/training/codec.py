"""Training of the video decoder: what the linear inverse leaves out, learnt from true latents and from the network's estimates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..bench.fidelity import blockiness, moving, psnr
from ..core.sizes import ClipShape
from ..core.weights import save_weights, to_half
from ..models.pocket.video_codec import VideoCodec
from ..world import make_scenes, render_picture
from .decoders import DecoderClips

HELD_OUT = 64
MOVING_WEIGHT = 4.0
SQUARED = 4.0  # weight of the squared error against the absolute one


class _DecoderObjective(nn.Module):
    def __init__(self, codec: VideoCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        latent, frames = batch
        error = self.codec.pixels(latent).float() - frames
        weight = 1 + MOVING_WEIGHT * moving(frames)
        l1, mse = (weight * error.abs()).mean(), (weight * error.square()).mean()
        return {"loss": l1 + SQUARED * mse, "l1": l1.detach(), "mse": mse.detach()}


class VideoDecoderStage:
    """Latents, true ones and the network's estimates -> the true clips. The encoder is not changed."""

    name = "video-decoder"

    def __init__(self, codec: VideoCodec, path: Path, *, clips: DecoderClips) -> None:
        self.path, self.clips = path, clips
        self.objective = _DecoderObjective(codec)
        self.shape = ClipShape()

    def batch(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        pick, latent = self.clips.draw("video", size, generator)
        return latent, self.clips.frames[pick].float() / 255

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
        scores |= {f"{name}blockiness": blockiness(row) / blockiness(frames) for name, row in rows.items()}
        return {"score": scores["psnr_moving"], **scores}

    def save(self, record: dict[str, Any]) -> list[Path]:
        codec = self.objective.codec
        save_weights(self.path, to_half(codec), kind="video-codec", config=codec.config, record=record)
        return [self.path]
