"""Stage ``planner``: the pocket planner, trained on the features of true clips."""

from __future__ import annotations

from functools import partial

from ...bench.prompts import DEVELOPMENT, bench_prompts
from ...bench.readings import Probes
from ...models.planner.load import load_planner
from ...models.planner.planner import PlannerConfig, VAPlanner
from ...models.pocket.load import ADD_ONS
from ...world import vocabulary
from ...world.scene import SOUNDING
from .. import judges
from ..planner import PlannerStage, judge_planner
from .registry import Job, Preset, register
from .sources import plan_cache


@register("planner", Preset(steps=3000, batch=32, lr=1e-3, score_every=500))
def build(job: Job) -> PlannerStage:
    """'score' is the share of the features' variance that the planner explains from the true timelines."""
    cache, probes = plan_cache(job), Probes.load()
    before = job.previous_record(ADD_ONS["pocket-planner"])
    if before:
        planner = load_planner().requires_grad_(True)
    else:
        sizes = cache.features.map(lambda z: z.shape[-1])
        config = PlannerConfig(tuple(vocabulary()), SOUNDING, cache.grid.keyframes, cache.grid.blocks, *sizes.both())
        planner = VAPlanner(config)
        planner.standardise(cache.moments())
    judge = partial(judge_planner, prompts=bench_prompts(judges.JUDGE_PROMPTS, DEVELOPMENT), probes=probes)
    return PlannerStage(cache, planner, job.folder / ADD_ONS["pocket-planner"].name, judge=judge, before=before)
