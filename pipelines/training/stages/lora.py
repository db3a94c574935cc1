"""Stages ``lora``, ``timed-lora`` and ``context-tokens``: a LoRA, or context tokens, on the frozen network of your own model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.lora import add_lora
from ..encode import open_model, processor
from ..lora import LoRAObjective, LoRAStage
from ..memory import check_memory
from ..own_models import OwnModel, load_own
from ..shards import ClipShards
from ..timed_captions import EVENTS, ONSET
from .estimates import PRESETS, estimate_of
from .registry import Job, register

if TYPE_CHECKING:
    from ..context_tokens import ContextStage


@register("lora", PRESETS["lora"])
def build(job: Job) -> LoRAStage:
    """'score' is the negative loss on clips that are held out."""
    clips = _clips(job)
    name, path, _ = job.real()
    return _stage(job, clips, LoRAObjective(load_own(name, path, *processor())))


@register("timed-lora", PRESETS["timed-lora"])
def build_timed(job: Job) -> LoRAStage:
    """The same for timed text.

    Raises:
        ValueError: no clip states when something happens.
    """
    from ..timed_lora import TimedLoRAObjective, load_timed

    clips = _clips(job)
    if not any(sample.events for sample in clips.samples):
        raise ValueError(
            f"No clip in {clips.folder} states when something happens, which timed-lora learns from. Write '{EVENTS}' or '{ONSET}' into "
            "the captions (docs/training.md), and encode them with 'duet data' into another folder."
        )
    return _stage(job, clips, TimedLoRAObjective(load_timed(job.real()[1], *processor())))


@register("context-tokens", PRESETS["context-tokens"])
def build_context(job: Job) -> ContextStage:
    """Context tokens, with the same score."""
    from ..context_tokens import ContextLTX2, ContextObjective, ContextStage

    clips, path = _clips(job), job.real()[1]
    objective = ContextObjective(ContextLTX2.load(path, *processor()))
    return ContextStage(job.stage, clips, objective, job.folder, record={"base": path.name})


def _clips(job: Job) -> ClipShards:
    """The clips, checked before weights are read."""
    name, path, data = job.real()
    clips = ClipShards.read(data)
    clips.check(name, open_model(name, path, job.text_encoder).fingerprint())
    check_memory(estimate_of(job), processor()[0])
    return clips


def _stage(job: Job, clips: ClipShards, objective: LoRAObjective) -> LoRAStage:
    model: OwnModel = objective.model
    add_lora(model.network, model.targets, rank=job.rank, seed=job.seed)
    return LoRAStage(job.stage, clips, objective, job.folder, record={"base": str(job.real()[1]), "rank": job.rank})
