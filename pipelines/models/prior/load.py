"""The pocket prior, from its weights file."""

from __future__ import annotations

from pathlib import Path

from ...core.weights import load_module
from ..pocket.load import ADD_ONS
from .net import PriorNet, PriorNetConfig


def load_prior_net(path: Path = ADD_ONS["pocket-prior"]) -> PriorNet:
    """The pocket prior: the estimator, the encoders of real clips and the readers of the tokens.

    Raises:
        ValueError: the file does not hold a prior.
    """
    return load_module(path, "pocket-prior", PriorNet, PriorNetConfig)
