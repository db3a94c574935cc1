"""Planned tokens for a whole request."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...core.conditions import PlacedTokens, PlanStreams
from ...core.timeline import Timeline
from .planner import VAPlanner


def plan_request(
    planner: VAPlanner, prompts: Sequence[str], audio: Sequence[str] | None, timeline: Timeline | None
) -> PlanStreams:
    """Planned tokens for each of ``prompts``, all with one timeline."""
    return join_plans([planner.plan(p, audio[i] if audio else "", timeline).streams for i, p in enumerate(prompts)])


def join_plans(plans: Sequence[PlanStreams]) -> PlanStreams:
    """The plans of some samples as one, where all have one grid."""
    return plans[0].map(
        lambda first, *others: PlacedTokens(torch.cat([p.tokens for p in (first, *others)]), first.places), *plans[1:]
    )
