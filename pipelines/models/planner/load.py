"""The planner and the plan layers, from their weights files."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ...core.weights import fill, load_weights
from ..addons.add_on import add_on_config
from ..addons.plan import PlanConfig, PlanLayers
from ..pocket.load import ADD_ONS, FILES
from ..pocket.network import PocketConfig, TwinStreamDiT
from .planner import PlannerConfig, VAPlanner


def load_planner(path: Path = ADD_ONS["pocket-planner"]) -> VAPlanner:
    """The VA-Planner.

    Raises:
        ValueError: the file is not a planner's.
    """
    file = load_weights(path, "pocket-planner")
    config = {**file.config, "words": tuple(file.config["words"]), "kinds": tuple(file.config["kinds"])}
    return fill(VAPlanner(PlannerConfig(**config)), file.tensors, source=path)


def load_plan_layers(
    network: PocketConfig, base: str, path: Path = ADD_ONS["pocket-plan"], *, operations: object = nn
) -> PlanLayers:
    """Plan layers for a base of hash ``base``.

    Raises:
        ValueError: the file is not of plan layers, or was trained on another base.
    """
    file = load_weights(path, "pocket-plan")
    config = add_on_config(file, base)
    return fill(PlanLayers(PlanConfig(**config), network, operations=operations), file.tensors, source=path)


def with_plan_layers(network: TwinStreamDiT) -> TwinStreamDiT:
    """The shipped base with its shipped plan layers; without a plan it is the base, bit for bit."""
    base = load_weights(FILES["pocket-av"], "pocket-av").sha256
    return load_plan_layers(network.config, base).install(network)
