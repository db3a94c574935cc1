"""Training of add-ons: the flow-matching loss of the frozen base, or distillation from it, in which their layers alone learn."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from ..core.weights import save_weights, to_half
from ..models.addons.add_on import AddOn
from ..models.pocket.network import TwinStreamDiT
from ..models.pocket.text import TextEncoder
from .data import LatentCache
from .flow import FlowBatch, FlowObjective, Recipe, make_batch

DROP = 0.1  # share of conditions that are hidden
TEXT_ALSO = 0.5  # share of those whose text is dropped too, so that guidance may compare with neither

Judge = Callable[[TwinStreamDiT, TextEncoder], dict[str, float]]


@dataclass(frozen=True)
class AddOnBatch:
    """A flow batch and the condition of each of its clips."""

    flow: FlowBatch
    condition: Any


class AddOnObjective(nn.Module):
    """The flow-matching loss of the frozen base with the add-on's layers; they alone learn."""

    def __init__(self, layers: AddOn, network: TwinStreamDiT, encoder: TextEncoder) -> None:
        super().__init__()
        network.requires_grad_(False)
        encoder.requires_grad_(False)
        layers.requires_grad_(True)
        self.layers = layers
        self.flow = FlowObjective(layers.install(network), encoder)

    def forward(self, batch: AddOnBatch) -> dict[str, Tensor]:
        return self.flow(batch.flow, conditions={self.layers.NAME: batch.condition})


class DistilledObjective(AddOnObjective):
    """The same for one stream alone, ``stream``, aiming at the frozen base's estimate of x0 in place of x0 itself (ours; distillation with
    privileged information, Lopez-Paz et al., 2016). The base sees the whole other stream by its own route, and the layers a function
    of it: E[x0 | other stream] has the same mean as x0 given what they see, so that the loss keeps its minimum as far as the base
    is right, and it does not vary by what nobody can know yet."""

    def __init__(self, layers: AddOn, network: TwinStreamDiT, encoder: TextEncoder, *, stream: str) -> None:
        teacher = deepcopy(network).requires_grad_(False)  # before the layers are installed in it
        super().__init__(layers, network, encoder)
        self.teacher, self.stream = FlowObjective(teacher, encoder), stream

    def forward(self, batch: AddOnBatch) -> dict[str, Tensor]:
        with torch.no_grad():
            target = self.teacher.clean(batch.flow).map(Tensor.float)
        own = batch.flow.of(self.stream)
        clean = self.flow.clean(own, {self.layers.NAME: batch.condition})
        return self.flow.losses(clean, target, own)


class AddOnStage:
    """An add-on on ``latents``, judged by ``judge``; ``before`` is the record of the weights that training continues from."""

    def __init__(
        self,
        name: str,
        latents: LatentCache,
        layers: AddOn,
        network: TwinStreamDiT,
        encoder: TextEncoder,
        path: Path,
        *,
        recipe: Recipe,
        base: str,
        judge: Judge,
        before: dict[str, Any] | None = None,
        make_objective: Callable[[AddOn, TwinStreamDiT, TextEncoder], AddOnObjective] = AddOnObjective,
    ) -> None:
        self.name, self.latents, self.path, self.recipe = name, latents, path, recipe
        self.base, self.judge, self.before = base, judge, before or {}
        self.objective = make_objective(layers, network, encoder)
        self.null = encoder.tokenizer.batch([""])[:, : latents.tokens.shape[-1]]

    def condition(self, pick: Tensor, shown: Tensor, generator: torch.Generator) -> Any:
        """The condition of the clips ``pick``, hidden where ``shown`` is False."""
        raise NotImplementedError

    def batch(self, generator: torch.Generator, size: int) -> AddOnBatch:
        """Random clips with tasks; one condition in ten is hidden, and for half of those the text too."""
        flow = make_batch(self.latents, size, self.null, generator, recipe=self.recipe)
        shown = torch.rand(size, generator=generator) >= DROP
        bare = ~shown & (torch.rand(size, generator=generator) < TEXT_ALSO)
        tokens = flow.tokens.map(lambda z: torch.where(bare[:, None], self.null, z))
        return AddOnBatch(FlowBatch(**{**vars(flow), "tokens": tokens}), self.condition(flow.pick, shown, generator))

    def score(self) -> dict[str, float]:
        scores = self.judge(self.objective.flow.network, self.objective.flow.encoder)
        return scores | residual_ratio(self.objective, self.batch(torch.Generator().manual_seed(0), 16))

    def save(self, record: dict[str, Any]) -> list[Path]:
        record = {**record, "clips": len(self.latents.video), "base": self.base}
        record |= {"before": self.before} if self.before else {}
        config = {**vars(self.objective.layers.config), "base": self.base}
        save_weights(self.path, self.tensors(), kind=self.path.stem, config=config, record=record)
        return [self.path]

    def tensors(self) -> dict[str, Tensor]:
        """What has been learnt, as it is written."""
        return to_half(self.objective.layers)


@torch.inference_mode()
def residual_ratio(objective: AddOnObjective, batch: AddOnBatch) -> dict[str, float]:
    """'residual': norm of what the layers add to a token over the norm of the token, averaged over layers; near zero the layers
    are ignored. Empty for an add-on without such layers."""
    found: list[float] = []

    def note(_layer: nn.Module, given: tuple[Any, ...], added: Tensor) -> None:
        found.append(float(added.float().norm() / given[0].float().norm()))

    hooks = [layer.register_forward_hook(note) for layer in objective.layers.attentions()]
    try:
        objective(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {"residual": fmean(found)} if found else {}
