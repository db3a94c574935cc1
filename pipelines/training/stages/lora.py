"""Stage ``lora``: a LoRA on the frozen network of your own model."""

from __future__ import annotations

from ...models.lora import add_lora
from ..encode import open_model, processor
from ..lora import LoRAStage
from ..memory import check_memory
from ..own_models import load_own
from ..shards import ClipShards
from .estimates import PRESETS, estimate_of
from .registry import Job, register


@register("lora", PRESETS["lora"])
def build(job: Job) -> LoRAStage:
    """'score' is the negative loss on clips that are held out."""
    name, path, data = job.real()
    clips = ClipShards.read(data)
    clips.check(name, open_model(name, path, job.text_encoder).fingerprint())
    check_memory(estimate_of(job), processor()[0])
    model = load_own(name, path, *processor())
    add_lora(model.network, model.targets, rank=job.rank, seed=job.seed)
    return LoRAStage(clips, model, job.folder, record={"base": str(path), "rank": job.rank})
