"""What the stages share that train a model of the user's own on encoded clips."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .precision import training_precision
from .shards import ClipShards, Drawn, Sample

HELD_OUT = 0.1  # share of the clips used for validation only
VALIDATION = 8  # largest number of clips in it


class ClipObjective(nn.Module):
    """A module whose forward turns a batch into losses."""

    @abstractmethod
    def batch(self, clips: ClipShards, drawn: Drawn, seed: torch.Generator) -> Any:
        """A batch of the clips that were ``drawn``."""


class ClipStage:
    """Training of an objective on ``clips``. There is no instrument for real clips: 'score' is the negative loss on clips that are held
    out, at fixed noise."""

    def __init__(
        self, name: str, clips: ClipShards, objective: ClipObjective, folder: Path, record: dict[str, Any]
    ) -> None:
        self.clips, self.held_out = clips.split(HELD_OUT)
        self.name, self.folder, self.own_record = name, folder, record
        self.objective = objective

    def batch(self, generator: torch.Generator, size: int) -> Any:
        return self.objective.batch(self.clips, self.clips.draw(size, generator), generator)

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        losses = [self._loss(number, sample) for number, sample in enumerate(self.held_out.samples[:VALIDATION])]
        return {"score": -sum(losses) / len(losses), "held_out_clips": float(len(losses))}

    def _loss(self, number: int, sample: Sample) -> float:
        drawn = self.held_out.load([sample])
        batch = self.objective.batch(self.held_out, drawn, torch.Generator().manual_seed(number))
        device = next(self.objective.parameters()).device.type
        with training_precision(device, bfloat16=True):
            return float(self.objective(batch)["loss"])

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """``record`` of a training with what this stage trained on."""
        return {**record, **self.own_record, "clips": len(self.clips.samples)}


def learn(network: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Let the parameters of ``network`` learn whose names begin with one of ``prefixes``, in float32, and freeze the others."""
    for name, parameter in network.named_parameters():
        learns = name.startswith(prefixes)
        parameter.requires_grad_(learns)
        if learns:
            parameter.data = parameter.data.float()
