"""Loading prior estimators in the host, with a check that they fit the MODEL. An estimator is small and runs on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import comfy.model_patcher
from torch import Tensor

from ...pipelines.core.conditions import Prior
from ...pipelines.models.javisdit.caption import v01_prompt
from ...pipelines.models.javisdit.load_prior import load_prior
from ...pipelines.models.prior.estimator import token_ids
from ...pipelines.models.prior.load import load_prior_net as load_pocket_prior
from .families import AUTO, find, place
from .javisdit import JavisModel01
from .model import PocketBaseModel, with_add_on
from .text import clip_bpe


@dataclass(frozen=True)
class PriorSource:
    """How to sample a prior for a prompt, and how to plot it."""

    draw: Callable[..., Prior]  # (prompt, seed=, temperature=)
    picture: Callable[[Prior, str], Tensor]


def load_prior_net(
    model: comfy.model_patcher.ModelPatcher, prior: str, tower: str
) -> tuple[comfy.model_patcher.ModelPatcher, PriorSource]:
    """A MODEL with prior layers, and the estimator of the chosen file.

    Raises:
        ValueError: the model does not support priors or needs other sizes, or a file is missing or of the wrong kind.
    """
    if isinstance(model.model, PocketBaseModel):
        return with_add_on(model, "pocket-prior-layers"), _pocket()
    return model, _javisdit(model, prior, tower)


def _pocket() -> PriorSource:
    net = load_pocket_prior()

    def draw(prompt: str, *, seed: int, temperature: float) -> Prior:
        return net.sample([prompt], seed=seed, temperature=temperature)

    def picture(prior: Prior, title: str) -> Tensor:
        from ...pipelines.figures.canvas import pixels
        from ...pipelines.figures.prior import draw_layout

        return pixels(draw_layout(net.layout(prior.all_tokens)[0], seconds=net.config.clip.seconds, title=title))

    return PriorSource(draw, picture)


def _javisdit(model: comfy.model_patcher.ModelPatcher, prior: str, tower: str) -> PriorSource:
    if not isinstance(model.model, JavisModel01):
        title = getattr(model.model, "title", type(model.model).__name__)
        raise ValueError(f"{title} does not support priors. Connect the pocket model or JavisDiT v0.1.")
    path = find("diffusion_models", "JavisDiT v0.1's prior") if prior == AUTO else place("diffusion_models", prior)
    tower_of = (
        (lambda: find("text_encoders", "ImageBind")) if tower == AUTO else (lambda: place("text_encoders", tower))
    )
    estimator = load_prior(path, tower_of)
    own, network = estimator.config, model.model.diffusion_model.config
    produced = (own.spatial_token_num, own.temporal_token_num, own.out_dim)
    expected = (network.spatial_prior_len, network.temporal_prior_len, network.st_prior_channel)
    if produced != expected:
        raise ValueError(
            f"{path}: this prior has {produced[0]} + {produced[1]} tokens of {produced[2]} channels; the model needs "
            f"{expected[0]} + {expected[1]} of {expected[2]}. Use the prior that belongs to this model."
        )
    bpe = clip_bpe()

    def draw(prompt: str, *, seed: int, temperature: float) -> Prior:
        return estimator.sample(token_ids(v01_prompt(prompt), bpe), seed=seed, temperature=temperature)

    def picture(drawn: Prior, title: str) -> Tensor:
        from ...pipelines.figures.canvas import pixels
        from ...pipelines.figures.prior import draw_prior

        return pixels(draw_prior(drawn, title=v01_prompt(title)))

    return PriorSource(draw, picture)
