"""Planned tokens for the prompts of a request."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...core.conditions import PlacedTokens, PlanStreams
from ...core.timeline import Timeline
from .planner import VAPlanner


def plan_request(
    planner: VAPlanner, prompts: Sequence[str], audio: Sequence[str] | None, timeline: Timeline | None
) -> PlanStreams:
    """Planned tokens for each of ``prompts`` with the same timeline."""
    return join_plans([planner.plan(p, audio[i] if audio else "", timeline).streams for i, p in enumerate(prompts)])


def join_plans(plans: Sequence[PlanStreams]) -> PlanStreams:
    """The plans of several samples as one batch; they must have the same grid."""
    return plans[0].map(
        lambda first, *others: PlacedTokens(torch.cat([p.tokens for p in (first, *others)]), first.places), *plans[1:]
    )
