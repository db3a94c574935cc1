"""The presets of the stages that train the user's own model, and the memory that each needs."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from ...models.javisdit.files import checkpoint_shapes, require
from ...models.javisdit.folder import JavisFolder10
from ...models.javisdit.folder01 import JavisFolder01
from ...models.javisdit.load import require_keys
from ...models.javisdit.v01 import JavisDiT01
from ...models.javisdit.v01_audio import JavisDiT01Audio
from ...models.javisdit.v01_blocks import V01Config
from ...models.javisdit.v10 import V10Config
from ...models.ltx2.file import open_ltx2
from ...models.ltx2.release import LTX2Release
from ...models.ltx2.sizes import LTX2Sizes
from ..clip_stage import learn
from ..encode import processor
from ..javisdit_start import AUDIO, JOINT, base_config, joint_config
from ..memory import (
    Load,
    MemoryEstimate,
    context_estimate,
    counted,
    estimate,
    javis01_activations,
    largest_load,
    prior_estimate,
    timed_estimate,
)
from ..parallel import launched
from ..shards import ClipShards
from .registry import Job, Preset

PRESETS = {
    "lora": Preset(steps=2000, batch=1, lr=2e-4, score_every=250),
    "context-tokens": Preset(steps=2000, batch=1, lr=1e-2, score_every=250),
    "timed-lora": Preset(steps=2000, batch=1, lr=2e-4, score_every=250),
    # Learning rates of the following are the official ones.
    "javis-audio": Preset(steps=2000, batch=8, lr=1e-4, score_every=250),
    "javis-prior": Preset(steps=2000, batch=8, lr=1e-5, score_every=250),
    "javis-joint": Preset(steps=2000, batch=1, lr=1e-4, score_every=250),
}


def estimate_of(job: Job) -> MemoryEstimate:
    """The memory that each process needs for its part of ``job``'s batch, for the largest clips.

    Raises:
        ValueError: the clips lack what the stage needs, or a part of the model is missing.
    """
    name, path, data = job.real()
    clips = ClipShards.read(data)
    batch = math.ceil((job.batch or PRESETS[job.stage].batch) / launched())
    load, dtype = largest_load(clips, batch), processor()[1]
    if job.stage == "context-tokens":
        return context_estimate(open_ltx2(path).sizes(), load, dtype=dtype)
    if job.stage == "timed-lora":
        texts = max(len({sample.text, *(event.text for event in sample.events)}) for sample in clips.samples)
        return timed_estimate(open_ltx2(path).sizes(), load, texts=texts, rank=job.rank, dtype=dtype)
    if job.stage == "lora":
        sizes: dict[str, Callable[[], LTX2Sizes | V10Config | V01Config]] = {
            LTX2Release.name: lambda: open_ltx2(path).sizes(),
            JavisFolder10.name: lambda: JavisFolder10(path).config(),
            JavisFolder01.name: lambda: JavisFolder01(path).config(),
        }
        return estimate(sizes[name](), load, rank=job.rank, dtype=dtype)
    folder = JavisFolder01(path)
    if job.stage == "javis-prior":
        return _prior(folder, clips, load)
    audio = job.stage == "javis-audio"
    config = base_config(folder)[1] if audio else joint_config(folder)
    with torch.device("meta"):
        network: nn.Module = JavisDiT01Audio(config) if audio else JavisDiT01(config)
    learn(network, AUDIO if audio else JOINT)
    sample = javis01_activations(job.stage, config, load, dtype)
    return counted(network, round(load.batch * sample), dtype)


def _prior(folder: JavisFolder01, clips: ClipShards, load: Load) -> MemoryEstimate:
    changed = clips.config.get("changed", 0)
    if not changed:
        raise ValueError(
            f"The clips in {clips.folder} are not stored with changed streams, which javis-prior compares them with. Encode them again "
            "into another folder with 'duet data --changed 1'."
        )
    source = folder.path / "prior"
    tensors = require(checkpoint_shapes(source), "JavisDiT v0.1's prior", source=source)
    with require_keys(source):
        return prior_estimate(tensors, load, changed=changed)
