"""Training of context tokens (CCL) on LTX-2 of the user's own: the null that UCG needs, beside a frozen network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.streams import Streams
from ..core.weights import save_weights, to_half
from ..models.addons.context import ContextTokens
from ..models.ltx2.context import OWN_CONTEXT_KIND, context_config
from ..models.ltx2.file import open_ltx2
from ..models.ltx2.network import LTX2Network
from .clip_stage import ClipStage
from .flow import RECIPES, of_task
from .lora import LoRABatch, LoRAObjective
from .own_models import Conditions, OwnLTX2
from .parallel import process
from .shards import ClipShards, Drawn

RECIPE = RECIPES["joint"]  # CCL's shares of the tasks; both streams have one noise level, as LTX-2 samples


@dataclass(frozen=True)
class RoutedConditions(Conditions):
    """Conditions with the open routes: whether the video and the audio of a sample read the other stream, [b] bool."""

    route: Streams[Tensor] = field(kw_only=True)

    def to(self, device: torch.device, dtype: torch.dtype) -> RoutedConditions:
        return RoutedConditions(
            **{**vars(super().to(device, dtype)), "route": self.route.map(lambda flags: flags.to(device))}
        )


class ContextLTX2(OwnLTX2):
    """LTX-2 with new context tokens, which alone learn."""

    kind = OWN_CONTEXT_KIND

    def __init__(self, model: LTX2Network) -> None:
        super().__init__(model)
        model.requires_grad_(False)
        self.context = ContextTokens(context_config(model.sizes))
        self.context.init_weights()
        self.context.to(next(model.parameters()).device)
        model.install_context(self.context)

    @classmethod
    def load(cls, path: Path, device: torch.device, dtype: torch.dtype) -> ContextLTX2:
        """The LTX-2 in this folder or file."""
        return cls(open_ltx2(path).network(device, dtype))

    def velocity(self, x: Streams[Tensor], sigma: Streams[Tensor], read: Conditions) -> Streams[Tensor]:
        assert isinstance(read, RoutedConditions)
        mask = Streams(read.mask, read.mask)
        return self.model(x, sigma, read.text, fps=read.clips["fps"], mask=mask, route=read.route)


class ContextObjective(LoRAObjective):
    """The loss of ``LoRAObjective`` on CCL's tasks: routes and clean streams follow the task of a sample."""

    def __init__(self, model: ContextLTX2) -> None:
        super().__init__(model)
        self.context = model.context

    def batch(self, clips: ClipShards, drawn: Drawn, seed: torch.Generator) -> LoRABatch:
        batch = super().batch(clips, drawn, seed)
        size, frames = drawn.latents.both()[0].shape[0], drawn.latents.both()[0].shape[2]
        task = torch.multinomial(RECIPE.shares, size, replacement=True, generator=seed)
        _, level = batch.sigma.both()
        clean = of_task("clean_video", task)[:, None] | (of_task("first", task)[:, None] & (torch.arange(frames) == 0))
        video = level.expand(-1, frames).masked_fill(clean, 0.0)
        sigma = Streams(video, level.masked_fill(of_task("clean_audio", task)[:, None], 0.0))
        read = RoutedConditions(**vars(batch.read), route=Streams(of_task("a2v", task), of_task("v2a", task)))
        return replace(batch, sigma=sigma, read=read)


class ContextStage(ClipStage):
    """Training of context tokens."""

    def __init__(
        self, name: str, clips: ClipShards, objective: ContextObjective, folder: Path, *, record: dict[str, Any]
    ) -> None:
        super().__init__(name, clips, objective, folder, record)
        self.context = objective.context

    def save(self, record: dict[str, Any]) -> list[Path]:
        """The tokens, which the first process writes."""
        path = self.folder / f"{OWN_CONTEXT_KIND}.safetensors"
        if process():
            return []
        own = self.record({**record, "mix": RECIPE.mix})
        save_weights(path, to_half(self.context), kind=OWN_CONTEXT_KIND, config=vars(self.context.config), record=own)
        return [path]
