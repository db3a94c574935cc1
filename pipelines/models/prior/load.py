"""The pocket prior, from its weights file."""

from __future__ import annotations

from pathlib import Path

from ...core.weights import fill, load_weights
from ..pocket.load import ADD_ONS
from .net import PriorNet, PriorNetConfig


def load_prior_net(path: Path = ADD_ONS["pocket-prior"]) -> PriorNet:
    """The pocket prior: the estimator, the encoders of real clips and the readers of the tokens.

    Raises:
        ValueError: the file does not hold a prior.
    """
    file = load_weights(path, "pocket-prior")
    config = PriorNetConfig(**{**file.config, "words": tuple(file.config["words"])})
    return fill(PriorNet(config), file.tensors, source=file.path)
