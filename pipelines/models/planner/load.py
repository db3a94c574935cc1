"""The pocket planner, from its weights file."""

from __future__ import annotations

from pathlib import Path

from ...core.weights import fill, load_weights
from ..pocket.load import ADD_ONS
from .planner import PlannerConfig, VAPlanner


def load_planner(path: Path = ADD_ONS["pocket-planner"]) -> VAPlanner:
    """The VA-Planner.

    Raises:
        ValueError: the file does not hold a planner.
    """
    file = load_weights(path, "pocket-planner")
    config = {**file.config, "words": tuple(file.config["words"]), "kinds": tuple(file.config["kinds"])}
    return fill(VAPlanner(PlannerConfig(**config)), file.tensors, source=path)
