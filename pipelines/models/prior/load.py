"""The pocket prior and the prior layers, from their weights files."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ...core.weights import fill, load_weights
from ..addons.add_on import add_on_config
from ..addons.prior import PriorLayers, PriorLayersConfig
from ..pocket.load import ADD_ONS, FILES
from ..pocket.network import PocketConfig, TwinStreamDiT
from .net import PriorNet, PriorNetConfig


def load_prior_net(path: Path = ADD_ONS["pocket-prior"]) -> PriorNet:
    """The estimator and the encoders of true clips.

    Raises:
        ValueError: the file is not of a prior.
    """
    file = load_weights(path, "pocket-prior")
    config = PriorNetConfig(**{**file.config, "words": tuple(file.config["words"])})
    return fill(PriorNet(config), file.tensors, source=file.path)


def load_prior_layers(
    network: PocketConfig, base: str, path: Path = ADD_ONS["pocket-prior-layers"], *, operations: object = nn
) -> PriorLayers:
    """Prior layers for a base of hash ``base``.

    Raises:
        ValueError: the file is not of prior layers, or was trained on another base.
    """
    file = load_weights(path, "pocket-prior-layers")
    config = PriorLayersConfig(**add_on_config(file, base))
    return fill(PriorLayers(config, network, operations=operations), file.tensors, source=file.path)


def with_prior_layers(network: TwinStreamDiT) -> TwinStreamDiT:
    """The shipped base with its prior layers; without a prior it is the base, bit for bit."""
    base = load_weights(FILES["pocket-av"], "pocket-av").sha256
    return load_prior_layers(network.config, base).install(network)
