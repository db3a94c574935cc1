"""The pocket planner, from its weights file."""

from __future__ import annotations

from pathlib import Path

from ...core.weights import load_module
from ..pocket.load import ADD_ONS
from .planner import PlannerConfig, VAPlanner


def load_planner(path: Path = ADD_ONS["pocket-planner"]) -> VAPlanner:
    """The VA-Planner.

    Raises:
        ValueError: the file does not hold a planner.
    """
    return load_module(path, "pocket-planner", VAPlanner, PlannerConfig)
