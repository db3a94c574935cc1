"""The prior estimator in the host: its files, and whether it fits the MODEL. It is small and runs on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import comfy.model_patcher

from ...pipelines.models.javisdit.load import load_prior
from ...pipelines.models.javisdit.prior import PriorEstimator
from .families import AUTO, find, place
from .javisdit import JavisModel01
from .text import clip_bpe


@dataclass(frozen=True)
class PriorNet:
    """An estimator and the text encoding it reads."""

    estimator: PriorEstimator
    bpe: Callable[[str], list[int]]


def load_prior_net(model: comfy.model_patcher.ModelPatcher, prior: str, tower: str) -> PriorNet:
    """The estimator behind a choice, for ``model``.

    Raises:
        ValueError: the model reads no prior, or one of other sizes; or a file is missing or something else.
    """
    if not isinstance(model.model, JavisModel01):
        title = getattr(model.model, "title", type(model.model).__name__)
        raise ValueError(f"{title} reads no prior. Connect the MODEL of JavisDiT v0.1.")
    path = find("diffusion_models", "JavisDiT v0.1's prior") if prior == AUTO else place("diffusion_models", prior)
    tower_of = (
        (lambda: find("text_encoders", "ImageBind")) if tower == AUTO else (lambda: place("text_encoders", tower))
    )
    estimator = load_prior(path, tower_of)
    own, network = estimator.config, model.model.diffusion_model.config
    made = (own.spatial_token_num, own.temporal_token_num, own.out_dim)
    read = (network.spatial_prior_len, network.temporal_prior_len, network.st_prior_channel)
    if made != read:
        raise ValueError(
            f"{path}: makes {made[0]} + {made[1]} tokens of {made[2]} channels; the model reads {read[0]} + {read[1]} of "
            f"{read[2]}. They belong to different models."
        )
    return PriorNet(estimator, clip_bpe())
