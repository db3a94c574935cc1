"""The registry of training stages: what a stage is built from, and how ``duet train`` finds it by name."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...core.weights import load_weights
from ...media.provenance import file_hash
from ..flow import Recipe
from ..loop import OnStep, Settings, Stage, train
from ..shards import CLIPS, TEXT, read_header, shard_paths


@dataclass(frozen=True)
class Preset:
    """A stage's default number of steps, batch size and peak learning rate."""

    steps: int
    batch: int
    lr: float
    score_every: int
    lr_factors: dict[str, float] = field(default_factory=dict)
    bfloat16: bool = True


JAVIS_STAGES = ("javis-audio", "javis-prior", "javis-joint")  # the official stages of JavisDiT v0.1
LTX2_STAGES = ("timed-lora", "context-tokens")
REAL_STAGES = ("lora", *LTX2_STAGES, *JAVIS_STAGES)  # stages that train a model of the user's own

# Stages and ablations that cannot train on the clips of ``duet data``, with the reason.
NO_OWN_CLIPS = {
    **dict.fromkeys(
        ("codecs", "video-decoder", "audio-decoder", "audio-probe", "video-probe"),
        "frames and waveforms, and the file holds latents",
    ),
    **dict.fromkeys(("planner", "plan-adapted"), "the timeline of every clip, which the file does not hold"),
    **dict.fromkeys(("timed", "pocket-ltx2-timed"), "the times of every clip's events, which the file does not hold"),
    "prior": "the time and place of every event, which the file does not hold",
    "ablation": "rendered clips with a single subject",
}


@dataclass(frozen=True)
class Job:
    """The options of one ``duet train`` call. ``None`` means the stage's own preset or recipe.

    Raises:
        ValueError: ``data`` does not exist, or the stage cannot train on such a file.
    """

    stage: str
    run: Path  # folder of checkpoints and caches
    weights: Path | None = None  # output folder; by default a folder of the stage's name inside ``run``
    steps: int | None = None
    batch: int | None = None
    lr: float | None = None
    clips: int = 8192
    seed: int = 0
    from_scratch: bool = False
    compiled: bool = False
    recipe: Recipe | None = None
    audio_from_video: bool = False
    tokens: int | None = None  # spatial tokens of a new prior, and the same number of temporal tokens
    data: Path | None = None  # clips encoded by ``duet data``, used instead of the world
    model: tuple[str, Path] | None = None  # name of the user's own model, and its folder or file
    text_encoder: Path | None = None  # of a model in a file; its clips must have been encoded with it
    rank: int = 32  # of a LoRA
    on_step: OnStep | None = (
        None  # called after every step; what it raises ends the run, after a checkpoint was written
    )

    def __post_init__(self) -> None:
        if self.stage in REAL_STAGES:
            self.real()
            return
        if self.model is not None:
            raise ValueError(
                f"{self.stage} trains the pocket model. Leave out --model, or train {', '.join(REAL_STAGES)}."
            )
        if self.data is None:
            return
        if reason := NO_OWN_CLIPS.get(self.stage):
            raise ValueError(f"{self.stage} cannot train on {self.data}: it needs {reason}. Leave out --data.")
        if not self.data.is_file():
            raise ValueError(f"{self.data} does not exist. Create it with 'duet data FOLDER -o {self.data}'.")

    def real(self) -> tuple[str, Path, Path]:
        """Name and path of the model, and folder of its encoded clips, of a stage that trains your own model.

        Raises:
            ValueError: one of them is missing.
        """
        if self.model is None or self.data is None:
            raise ValueError(
                f"{self.stage} needs --model NAME PATH, your model, and --data DIR, clips that 'duet data --model' encoded."
            )
        if not self.data.is_dir():
            raise ValueError(
                f"{self.data} is not a folder. Create it with 'duet data FOLDER --model NAME PATH -o {self.data}'."
            )
        if self.stage in JAVIS_STAGES and self.model[0] != "javisdit-v0.1":
            raise ValueError(f"--model is {self.model[0]}; {self.stage} trains javisdit-v0.1.")
        if self.stage in LTX2_STAGES and self.model[0] != "ltx2":
            raise ValueError(f"--model is {self.model[0]}; {self.stage} trains ltx2.")
        return *self.model, self.data

    @property
    def folder(self) -> Path:
        """The output folder of the weights, or of an ablation's table."""
        return self.weights or self.run / self.stage

    def previous_record(self, path: Path) -> dict[str, Any]:
        """The record of the shipped weights at ``path`` from which training continues; empty if it starts from scratch."""
        return {} if self.from_scratch or not path.is_file() else load_weights(path, path.stem).record


STAGES: dict[str, Callable[[Job], dict[str, Any]]] = {}


def register_fit(name: str) -> Callable[[Callable[[Job], dict[str, Any]]], Callable[[Job], dict[str, Any]]]:
    """Register a function that fits parts in closed form, writes their weights and returns the record."""

    def keep(fit: Callable[[Job], dict[str, Any]]) -> Callable[[Job], dict[str, Any]]:
        STAGES[name] = fit
        return fit

    return keep


def register(name: str, preset: Preset) -> Callable[[Callable[[Job], Stage]], Callable[[Job], Stage]]:
    """Register a function that builds the stage ``name``, which the training loop then trains with ``preset``."""

    def keep(build: Callable[[Job], Stage]) -> Callable[[Job], Stage]:
        def run(job: Job) -> dict[str, Any]:
            torch.manual_seed(job.seed)
            return train(build(job), settings_of(job, preset), on_step=job.on_step)

        STAGES[name] = run
        return build

    return keep


def settings_of(job: Job, preset: Preset) -> Settings:
    """``preset`` with the options that ``job`` sets."""
    return Settings(
        steps=job.steps or preset.steps,
        batch=job.batch or preset.batch,
        lr=job.lr or preset.lr,
        run=job.run,
        seed=job.seed,
        score_every=preset.score_every,
        compiled=job.compiled,
        lr_factors=preset.lr_factors,
        bfloat16=preset.bfloat16,
        data=_data_of(job),
        start="new" if job.from_scratch else "",
    )


def _data_of(job: Job) -> str:
    """What a run trains on, which may not change when it resumes."""
    if job.stage in REAL_STAGES:
        name, model, shards = job.real()
        paths = [path for prefix in (CLIPS, TEXT) for path in shard_paths(shards, prefix)]
        headers = [(path.name, path.stat().st_size, read_header(path)) for path in paths]
        return f"{name}, {model.name}, rank {job.rank}, {shards.name}, {zlib.crc32(repr(headers).encode()):08x}"
    return f"{job.clips} rendered clips" if job.data is None else f"{job.data.name}, {file_hash(job.data)}"
