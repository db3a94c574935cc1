"""Stages ``pocket-ltx2``, LTX-2's architecture at pocket size on the pocket latents, ``pocket-ltx2-context``, context tokens on it, and
``pocket-ltx2-plan``, plan layers on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ...bench.runner import Variant
from ...guidance.strategy import UCG, PerStreamCFG, Strategy
from ...media.provenance import file_hash
from ...models.ltx2.pocket_config import (
    CONTEXT_KIND,
    PLAN_FILE,
    PLAN_KIND,
    PocketLTX2Config,
    require_diffusers,
    scaled_codecs,
)
from ...models.pocket.load import FILES, load_text_encoder
from ..data import ClipEncoder, LatentCache, load_codecs
from ..judges import NetworkJudge
from .plan import PlanJudge, new_plan_layers
from .registry import Job, Preset, register
from .sources import latent_cache, plan_cache, pocket_ltx2

if TYPE_CHECKING:
    from ...models.ltx2.pocket import PocketLTX2
    from ..ltx2 import LTX2ContextStage, LTX2PlanStage, LTX2Stage

S = TypeVar("S", bound="LTX2Stage")


@register("pocket-ltx2", Preset(steps=5600, batch=32, lr=1e-3, score_every=1000))
def build(job: Job) -> LTX2Stage:
    """The stage; its score is normalised synchrony with plain CFG.

    Raises:
        ValueError: diffusers is not installed.
    """
    require_diffusers()
    from ...models.ltx2.pocket import PocketLTX2
    from ..ltx2 import LTX2Stage, deviations

    cache = _clips(job)
    scales = deviations(cache.video), deviations(cache.audio)
    network = PocketLTX2(PocketLTX2Config(video_scale=scales[0], audio_scale=scales[1]))
    return _stage(LTX2Stage, job, cache, network, PerStreamCFG())


@register(CONTEXT_KIND, Preset(steps=800, batch=32, lr=1e-2, score_every=400))
def build_context(job: Job) -> LTX2ContextStage:
    """Context tokens on the pocket LTX-2 that ships; their score is normalised synchrony with the guidance that they serve.

    Raises:
        ValueError: diffusers is not installed, or pocket LTX-2 is not there.
    """
    base, network = pocket_ltx2()
    from ..ltx2 import LTX2ContextStage

    stage = _stage(LTX2ContextStage, job, _clips(job), network, UCG("U3", video=5.0, audio=5.0))
    stage.base = base
    return stage


@register(PLAN_KIND, Preset(steps=1200, batch=32, lr=3e-3, score_every=400))
def build_plan(job: Job) -> LTX2PlanStage:
    """Plan layers on the pocket LTX-2 that ships, with the features of true clips as plans; see ``PlanJudge`` for their score.

    Raises:
        ValueError: diffusers is not installed, or pocket LTX-2 is not there.
    """
    base, network = pocket_ltx2()
    from ..ltx2 import RECIPE, LTX2AddOnObjective, LTX2PlanStage

    cache = plan_cache(job)
    judge = PlanJudge(adapted=False, codecs=scaled_codecs(network.config, *load_codecs()))
    return LTX2PlanStage(
        job.stage, cache, new_plan_layers(cache, network.config), network, load_text_encoder(), job.folder / PLAN_FILE.name,
        recipe=RECIPE, base=base, judge=judge, make_objective=LTX2AddOnObjective,
    )  # fmt: skip


def _clips(job: Job) -> LatentCache:
    return latent_cache(job, ClipEncoder(load_codecs(), load_text_encoder().tokenizer))


def _stage(create: type[S], job: Job, cache: LatentCache, network: PocketLTX2, strategy: Strategy) -> S:
    """The stage with a judge that generates with ``strategy``."""
    scaled = scaled_codecs(network.config, *load_codecs())
    judge = NetworkJudge(Variant(job.stage, strategy), "sync_normalised", single_sync=True, codecs=scaled)
    text_hash = file_hash(FILES["pocket-text"])
    return create(cache, network, load_text_encoder(), job.folder, judge=judge, text_hash=text_hash)
