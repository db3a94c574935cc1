"""Training of add-on layers on the frozen base, by its flow-matching loss or by distillation from it."""

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
DROP_TEXT = 0.5  # share of the samples with a hidden condition whose text is dropped too, for guidance against neither

Judge = Callable[[Any, TextEncoder], dict[str, float]]
ObjectiveOf = Callable[[AddOn, Any, TextEncoder], Any]  # makes the objective of layers, a network and a text encoder


@dataclass(frozen=True)
class AddOnBatch:
    """A flow batch and the condition of each of its clips."""

    flow: FlowBatch
    condition: Any


class AddOnObjective(nn.Module):
    """The flow-matching loss of the frozen base with the add-on's layers; only the layers are trained."""

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
    """The same loss for one ``stream``, whose target is the frozen base's estimate of x0 instead of x0 (our choice; distillation with
    privileged information, Lopez-Paz et al., 2016).

    The base sees the whole other stream through its cross-modal attention, the layers see a function of it. E[x0 | other stream] has
    the same mean as x0 given that function, so that the minimum of the loss stays the same as far as the base is accurate, and the
    target has less variance.
    """

    def __init__(self, layers: AddOn, network: TwinStreamDiT, encoder: TextEncoder, *, stream: str) -> None:
        teacher = deepcopy(network).requires_grad_(False)  # copied before the layers are installed
        super().__init__(layers, network, encoder)
        self.teacher, self.stream = FlowObjective(teacher, encoder), stream

    def forward(self, batch: AddOnBatch) -> dict[str, Tensor]:
        with torch.no_grad():
            target = self.teacher.clean(batch.flow).map(Tensor.float)
        own = batch.flow.of(self.stream)
        clean = self.flow.clean(own, {self.layers.NAME: batch.condition})
        return self.flow.losses(clean, target, own)


class AddOnStage:
    """Training of add-on layers on ``latents``, scored by ``judge``; ``before`` is the record of the weights that training continues
    from."""

    def __init__(
        self,
        name: str,
        latents: LatentCache,
        layers: AddOn,
        network: Any,
        encoder: TextEncoder,
        path: Path,
        *,
        recipe: Recipe,
        base: str,
        judge: Judge,
        before: dict[str, Any] | None = None,
        make_objective: ObjectiveOf = AddOnObjective,
    ) -> None:
        self.name, self.latents, self.path, self.recipe = name, latents, path, recipe
        self.base, self.judge, self.before = base, judge, before or {}
        self.objective = make_objective(layers, network, encoder)
        self.null = encoder.tokenizer.batch([""])[:, : latents.tokens.shape[-1]]

    def condition(self, pick: Tensor, shown: Tensor, generator: torch.Generator) -> Any:
        """The condition of the clips ``pick``, hidden where ``shown`` is False."""
        raise NotImplementedError

    def batch(self, generator: torch.Generator, size: int) -> AddOnBatch:
        """Random clips with tasks. One condition in ten is hidden, and in half of these samples the text too."""
        flow = make_batch(self.latents, size, self.null, generator, recipe=self.recipe)
        shown = torch.rand(size, generator=generator) >= DROP
        no_text = ~shown & (torch.rand(size, generator=generator) < DROP_TEXT)
        tokens = flow.tokens.map(lambda z: torch.where(no_text[:, None], self.null, z))
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
        """The trained tensors as they are saved, in float16."""
        return to_half(self.objective.layers)


@torch.inference_mode()
def residual_ratio(objective: Any, batch: AddOnBatch) -> dict[str, float]:
    """'residual': norm of the layers' output divided by the norm of what they read (on the pocket network the tokens that it is added
    to), averaged over layers. Near zero the layers have no effect. Empty for an add-on without such layers."""
    found: list[float] = []

    def record(_layer: nn.Module, inputs: tuple[Any, ...], added: Tensor) -> None:
        found.append(float(added.float().norm() / inputs[0].float().norm()))

    hooks = [layer.register_forward_hook(record) for layer in objective.layers.attentions()]
    try:
        objective(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {"residual": fmean(found)} if found else {}
