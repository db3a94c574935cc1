"""A strategy as the host's GUIDER."""

from __future__ import annotations

from typing import Any

import comfy.model_patcher
import comfy.samplers
import comfy.utils
import torch
from comfy.conds import CONDRegular
from torch import Tensor

from ...pipelines.guidance import Branch, Strategy, combine, needed
from ...pipelines.streams import Streams


class StrategyGuider(comfy.samplers.CFGGuider):
    """Evaluates the branches a strategy asks for and combines their x0 predictions, stream by stream."""

    def __init__(
        self, model: comfy.model_patcher.ModelPatcher, positive: list, negative: list, strategy: Strategy
    ) -> None:
        super().__init__(model)
        self.inner_set_conds({"positive": positive, "negative": negative})
        self.strategy = strategy

    def sample(self, noise: Any, latent_image: Any, *args: Any, **kwargs: Any) -> Any:
        if not getattr(latent_image, "is_nested", False):
            raise ValueError(
                "The Duet guider needs a joint audio-video latent. Connect 'Duet Empty Latent' to the sampler."
            )
        self.shapes = [tuple(stream.shape) for stream in latent_image.unbind()]
        return super().sample(noise, latent_image, *args, **kwargs)

    def predict_noise(
        self, x: Tensor, timestep: Tensor, model_options: dict | None = None, seed: int | None = None
    ) -> Tensor:
        terms = needed(self.strategy.terms(float(timestep.flatten()[0])))
        conds = [self._conds(branch) for branch in terms]
        outputs = comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, model_options or {})
        streams = [Streams(*comfy.utils.unpack_latents(output, self.shapes)) for output in outputs]
        packed, _ = comfy.utils.pack_latents(combine(streams, list(terms.values())).present())
        return packed

    def _conds(self, branch: Branch) -> list[dict]:
        """The conditions of ``branch``; one with a closed direction is a copy with another route."""
        conds = self.conds["positive" if branch.text else "negative"]
        if branch.a2v and branch.v2a:
            return conds
        route = CONDRegular(torch.tensor([[float(branch.a2v), float(branch.v2a)]]))
        return [{**cond, "model_conds": {**cond["model_conds"], "route": route}} for cond in conds]
