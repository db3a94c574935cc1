"""Stage ``lora``: a LoRA on the frozen network of your own model."""

from __future__ import annotations

import math

from ...models.javisdit.folder import JavisFolder10
from ...models.lora import add_lora
from ...models.ltx2.folder import LTX2Folder
from ..encode import MODELS, processor
from ..lora import LoRAStage
from ..memory import Load, MemoryEstimate, check_memory, estimate
from ..own_models import load_own
from ..parallel import launched
from ..shards import ClipShards
from .registry import Job, Preset, register

PRESET = Preset(steps=2000, batch=1, lr=2e-4, score_every=250)


def estimate_of(job: Job) -> MemoryEstimate:
    """The memory that each process needs for its part of ``job``'s batch, for the largest clips."""
    name, path, data = job.real()
    clips = ClipShards.read(data)
    longest = max(clips.samples, key=lambda s: math.prod(s.video[1:]))
    load = Load(math.ceil((job.batch or PRESET.batch) / launched()), longest.video[1:], longest.audio[1:], clips.words)
    sizes = LTX2Folder(path).sizes() if name == LTX2Folder.name else JavisFolder10(path).config()
    return estimate(sizes, load, rank=job.rank, dtype=processor()[1])


@register("lora", PRESET)
def build(job: Job) -> LoRAStage:
    """'score' is the negative loss on clips that are held out."""
    name, path, data = job.real()
    folder, clips = MODELS[name](path), ClipShards.read(data)
    clips.check(name, folder.fingerprint())
    check_memory(estimate_of(job), processor()[0])
    model = load_own(name, path, *processor())
    add_lora(model.network, model.targets, rank=job.rank, seed=job.seed)
    return LoRAStage(clips, model, job.folder, record={"base": str(path), "rank": job.rank})
