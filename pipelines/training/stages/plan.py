"""Stages ``plan`` and ``plan-adapted``: plan layers on the frozen network, with the features of true clips as plans, then also with
the planner's own plans."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from ...bench.prompts import AUDIBLE, DEVELOPMENT, Prompt, bench_prompts
from ...bench.runner import Variant
from ...bench.suites.plan import edited, oracle, scene_timeline, shuffled
from ...core.weights import load_weights
from ...guidance.strategy import PerStreamCFG
from ...models.addons.add_on import Sizes
from ...models.addons.plan import PlanConfig, PlanLayers
from ...models.backbone import Backbone
from ...models.planner.load import load_planner
from ...models.pocket.add_ons import load_layers
from ...models.pocket.load import ADD_ONS, FILES, load_network, load_text_encoder
from ...models.pocket.network import TwinStreamDiT
from ...models.pocket.text import TextEncoder
from .. import judges
from ..data import load_codecs
from ..flow import RECIPES
from ..judges import Codecs, NetworkJudge
from ..plan import PlanCache, PlanStage
from ..planner import predicted_features
from .registry import Job, Preset, register
from .sources import plan_cache


@register("plan", Preset(steps=4000, batch=64, lr=1.5e-3, score_every=1000))
@register("plan-adapted", Preset(steps=1500, batch=64, lr=5e-4, score_every=500))
def build(job: Job) -> PlanStage:
    """The plan layers; see ``PlanJudge`` for their score."""
    file, encoder, network = load_weights(FILES["pocket-av"], "pocket-av"), load_text_encoder(), load_network()
    judge = PlanJudge(adapted=job.stage == "plan-adapted")
    cache, before = plan_cache(job), job.previous_record(ADD_ONS["pocket-plan"])
    layers = new_plan_layers(cache, network.config) if not before else shipped_plan_layers(network, file.sha256)
    return PlanStage(
        job.stage,
        cache,
        layers,
        network,
        encoder,
        job.folder / ADD_ONS["pocket-plan"].name,
        recipe=RECIPES["joint"],
        base=file.sha256,
        judge=judge,
        predicted=predicted_features(load_planner(), cache) if judge.adapted else None,
        before=before,
    )


def shipped_plan_layers(network: TwinStreamDiT, base: str) -> PlanLayers:
    """The plan layers that ship for a base with hash ``base``, to train further."""
    return cast(PlanLayers, load_layers("pocket-plan", network.config, base).layers)


def new_plan_layers(cache: PlanCache, sizes: Sizes) -> PlanLayers:
    """Untrained plan layers for the features in ``cache``, on a network of ``sizes``."""
    layers = PlanLayers(PlanConfig(*cache.features.map(lambda z: z.shape[-1]).both()), sizes)
    layers.init_weights()
    layers.standardise(cache.moments())
    return layers


class PlanJudge:
    """'score' is the share of planned events that are realised: with the oracle's plan, or, ``adapted``, with the planner's plan
    for the scene's timeline. 'gap_to_shuffled' is its distance to the share with the plans of other prompts. ``codecs`` are those of the
    network's latents."""

    def __init__(self, *, adapted: bool, codecs: Codecs | None = None) -> None:
        self.adapted = adapted
        variant = Variant("judged", PerStreamCFG(2.0, 2.0), plan=scene_timeline if adapted else oracle, normalise=False)
        self.planned = NetworkJudge(variant, "plan_realised", codecs=codecs or load_codecs())
        self.shuffled = replace(self.planned, variant=replace(variant, plan=shuffled))

    def __call__(self, network: Backbone, encoder: TextEncoder) -> dict[str, float]:
        prompts = half_edited()
        found = self.planned(network, encoder, prompts)
        other = self.shuffled(network, encoder, prompts)
        gap = found["plan_realised"] - other["plan_realised"]
        return {"score": found.pop("score"), "gap_to_shuffled": gap, **found}


def half_edited() -> list[Prompt]:
    """Development prompts with something audible, every other one with an event moved, so that edited plans are scored too."""
    prompts = bench_prompts(judges.JUDGE_PROMPTS, DEVELOPMENT, strata=AUDIBLE)
    return [edited(prompt) if i % 2 else prompt for i, prompt in enumerate(prompts)]
