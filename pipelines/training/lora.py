"""Training of a LoRA for a model of your own on encoded clips: rectified flow with the noise levels of the model's own training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.streams import Streams
from ..core.weights import save_weights
from ..models.lora import for_host, lora_tensors
from ..models.ltx2.pocket import spread
from .ltx2 import velocity_loss
from .own_models import Conditions, OwnModel
from .shards import ClipShards, Sample

HELD_OUT = 0.1  # share of the clips used for validation only
VALIDATION = 8  # largest number of clips in it


@dataclass(frozen=True)
class LoRABatch:
    """Clean latents, noise, noise levels ([b, t] for video, [b, 1] for audio) and what the network reads beside them."""

    x0: Streams[Tensor]
    noise: Streams[Tensor]
    sigma: Streams[Tensor]
    read: Conditions


class LoRAObjective(nn.Module):
    """Flow-matching loss (Lipman et al., 2023) of the velocity noise - x0, summed over the streams."""

    def __init__(self, model: OwnModel) -> None:
        super().__init__()
        self.model, self.network = model, model.network

    def batch(
        self, clips: ClipShards, drawn: tuple[Streams[Tensor], dict[str, Tensor]], seed: torch.Generator
    ) -> LoRABatch:
        """A batch of ``drawn`` latents and text, with one noise level for both streams of a clip and some first frames kept clean."""
        latents, text = drawn
        video, _ = latents.both()
        size, frames = video.shape[0], video.shape[2]
        level = self.model.levels(size, video, clips.config, seed)[:, None]
        kept = torch.rand(size, 1, generator=seed) < self.model.first_frame
        per_frame = level.expand(-1, frames).masked_fill(kept & (torch.arange(frames) == 0), 0.0)
        noise = latents.map(lambda z: torch.randn(z.shape, generator=seed))
        states = Streams(text["video"], text.get("audio", text["video"]))
        return LoRABatch(latents, noise, Streams(per_frame, level), Conditions(states, text["mask"], clips.config))

    def forward(self, batch: LoRABatch) -> dict[str, Tensor]:
        weight = next(p for p in self.network.parameters() if not p.requires_grad)
        device, dtype = weight.device, weight.dtype
        x0, noise, sigma = (part.map(lambda z: z.to(device)) for part in (batch.x0, batch.noise, batch.sigma))
        x = x0.map(lambda z, n, s: torch.lerp(z, n, spread(s, z).expand_as(z)).to(dtype), noise, sigma)
        read = Conditions(
            batch.read.text.map(lambda z: z.to(device, dtype)), batch.read.mask.to(device), batch.read.clips
        )
        velocity = self.model.velocity(x, sigma, read)
        video, audio = velocity.map(velocity_loss, x0, noise, sigma).both()
        return {"loss": video + audio, "video": video.detach(), "audio": audio.detach()}


class LoRAStage:
    """Training of a LoRA on ``clips``. There is no instrument for real clips: 'score' is the negative loss on clips that are held out, at
    fixed noise."""

    name = "lora"

    def __init__(self, clips: ClipShards, model: OwnModel, folder: Path, *, record: dict[str, Any]) -> None:
        self.clips, self.held_out = clips.split(HELD_OUT)
        self.model, self.folder, self.record = model, folder, record
        self.objective = LoRAObjective(model)

    def batch(self, generator: torch.Generator, size: int) -> LoRABatch:
        return self.objective.batch(self.clips, self.clips.draw(size, generator), generator)

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        losses = [self._loss(number, sample) for number, sample in enumerate(self.held_out.samples[:VALIDATION])]
        return {"score": -sum(losses) / len(losses), "held_out_clips": float(len(losses))}

    def _loss(self, number: int, sample: Sample) -> float:
        drawn = self.held_out.load([sample])
        batch = self.objective.batch(self.held_out, drawn, torch.Generator().manual_seed(number))
        return float(self.objective(batch)["loss"])

    def save(self, record: dict[str, Any]) -> list[Path]:
        """The LoRA in ComfyUI's format."""
        path = self.folder / f"{self.model.kind}.safetensors"
        tensors = for_host(self.model.official(lora_tensors(self.model.network)))
        record = {**record, **self.record, "clips": len(self.clips.samples)}
        save_weights(path, tensors, kind=self.model.kind, config={"targets": self.model.targets}, record=record)
        return [path]
