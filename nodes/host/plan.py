"""The planner in the host. It is small and runs on the CPU."""

from __future__ import annotations

import comfy.model_patcher

from ...pipelines.models.planner.load import load_planner
from ...pipelines.models.planner.planner import VAPlanner
from ...pipelines.models.pocket.load import ADD_ONS
from .model import with_plan


def load_plan(model: comfy.model_patcher.ModelPatcher) -> tuple[comfy.model_patcher.ModelPatcher, VAPlanner]:
    """A MODEL that reads plans, and the planner that makes them."""
    return with_plan(model, ADD_ONS["pocket-plan"]), load_planner()
