"""Training of a LoRA for a model of your own on encoded clips: rectified flow with the noise levels of the model's own training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.streams import Streams
from ..core.weights import save_weights
from ..models.lora import for_host, lora_tensors
from ..models.ltx2.pocket import spread
from .clip_stage import ClipObjective, ClipStage
from .ltx2 import velocity_loss
from .own_models import Conditions, OwnModel
from .parallel import process
from .shards import ClipShards, Drawn


@dataclass(frozen=True)
class LoRABatch:
    """Clean latents, noise, noise levels ([b, t] for video, [b, 1] for audio) and what the network reads beside them."""

    x0: Streams[Tensor]
    noise: Streams[Tensor]
    sigma: Streams[Tensor]
    read: Conditions


class LoRAObjective(ClipObjective):
    """Flow-matching loss (Lipman et al., 2023) of the velocity noise - x0, summed over the streams."""

    loss = staticmethod(velocity_loss)

    def __init__(self, model: OwnModel) -> None:
        super().__init__()
        self.model, self.network = model, model.network

    def batch(self, clips: ClipShards, drawn: Drawn, seed: torch.Generator) -> LoRABatch:
        """A batch of ``drawn`` latents and text, with one noise level for both streams of a clip and some first frames kept clean."""
        latents, text, _ = drawn
        video, _ = latents.both()
        size, frames = video.shape[0], video.shape[2]
        level = self.model.levels(size, video, clips.config, seed)[:, None]
        kept = torch.rand(size, 1, generator=seed) < self.model.first_frame
        per_frame = level.expand(-1, frames).masked_fill(kept & (torch.arange(frames) == 0), 0.0)
        noise = latents.map(lambda z: torch.randn(z.shape, generator=seed))
        return LoRABatch(latents, noise, Streams(per_frame, level), self.model.conditions(text, clips.config, seed))

    def forward(self, batch: LoRABatch) -> dict[str, Tensor]:
        weight = next(p for p in self.network.parameters() if not p.requires_grad)
        device, dtype = weight.device, weight.dtype
        x0, noise, sigma = (part.map(lambda z: z.to(device)) for part in (batch.x0, batch.noise, batch.sigma))
        x = x0.map(lambda z, n, s: torch.lerp(z, n, spread(s, z).expand_as(z)).to(dtype), noise, sigma)
        velocity = self.model.velocity(x, sigma, batch.read.to(device, dtype))
        video, audio = velocity.map(self.loss, x0, noise, sigma).both()
        return {"loss": video + audio, "video": video.detach(), "audio": audio.detach()}


class LoRAStage(ClipStage):
    """Training of a LoRA with ``objective``."""

    shardable = True

    def __init__(
        self, name: str, clips: ClipShards, objective: LoRAObjective, folder: Path, *, record: dict[str, Any]
    ) -> None:
        super().__init__(name, clips, objective, folder, record)
        self.model = objective.model

    def save(self, record: dict[str, Any]) -> list[Path]:
        """The LoRA in ComfyUI's format, which the first process writes."""
        path = self.folder / f"{self.model.kind}.safetensors"
        tensors = for_host(self.model.official(lora_tensors(self.model.network)))
        if process():
            return []
        save_weights(
            path, tensors, kind=self.model.kind, config={"targets": self.model.targets}, record=self.record(record)
        )
        return [path]
