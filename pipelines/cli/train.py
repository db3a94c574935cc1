"""``duet train``: train one stage of the pocket model, or run an ablation."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.files import ROOT
from .data import REAL_MODELS

if TYPE_CHECKING:
    from ..training.flow import Recipe
    from ..training.stages import Job

STAGES = (
    *("codecs", "video-decoder", "audio-decoder", "audio-probe", "video-probe", "video", "audio", "joint"),
    *(
        "planner",
        "plan",
        "plan-adapted",
        "prior",
        "prior-layers",
        "adapter",
        "adapter-v2a",
        "adapter-a2v",
        "timed",
        "pocket-ltx2",
        "pocket-ltx2-context",
        "pocket-ltx2-plan",
        "pocket-ltx2-timed",
        "lora",
        "timed-lora",
        "context-tokens",
        "javis-audio",
        "javis-prior",
        "javis-joint",
    ),
)  # in the order of training; listed here so that --help does not import torch


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet train``."""
    parser.add_argument(
        "stage", choices=(*STAGES, *ABLATIONS), help="the stage or ablation to train; each stage needs those before it"
    )
    _add_length(parser)
    _add_data(parser)
    _add_start(parser)
    _add_real(parser)
    parser.set_defaults(command=run)


def _add_length(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option("--steps", type=int, help="optimizer steps (default: the stage's own)")
    option("--batch", type=int, help="samples per step, of all processes together (default: the stage's own)")
    option("--lr", type=float, help="peak learning rate (default: the stage's own)")
    option("--seed", type=int, default=0, help="seed of the data and the training (default 0)")
    option("--seeds", type=int, default=3, help="training runs per arm of an ablation (default 3)")
    option("--compile", action="store_true", help="train with torch.compile (on a CPU it needs a C++ compiler)")


def _add_data(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option("--clips", type=int, default=8192, help="number of rendered clips to train on (default 8192)")
    option("--data", type=Path, metavar="PATH", help="train on clips encoded by 'duet data' instead of rendered ones")
    option(
        "--mix",
        nargs="+",
        default=[],
        metavar="TASK=SHARE",
        help="shares of the tasks t2av, ti2av, t2v+t2a, i2v+t2a, a2v and v2a (default: the paper's, normalised)",
    )
    option("--stop-gradient", action="store_true", help="no gradient through the clean stream of A2V and V2A")


def _add_start(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option(
        "--run",
        type=Path,
        default=Path("runs"),
        help="folder for checkpoints and caches; an interrupted run resumes from it (default runs)",
    )
    option(
        "--weights",
        type=Path,
        metavar="DIR",
        help="output folder of the weights, or of an ablation's table (default: a folder of the stage's name inside --run); "
        "shipped files are only replaced if you name the pack's weights folder here",
    )
    option("--from-scratch", action="store_true", help="do not start from the weights in weights/")
    option(
        "--audio-from-video",
        action="store_true",
        help="initialise the audio stream from the video stream where shapes match",
    )
    option(
        "--tokens",
        type=int,
        metavar="N",
        help="train a new prior with N spatial and N temporal tokens (a power of two, at most 32)",
    )


def _add_real(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option(
        "--model",
        nargs=2,
        metavar=("NAME", "PATH"),
        help="lora: your model, ltx2, javisdit-v0.1 or javisdit-v1.0, and its folder (ltx2: or its file); timed-lora and context-tokens: "
        "ltx2; javis-audio, javis-prior and javis-joint: javisdit-v0.1 and its folder (see docs/training.md)",
    )
    option(
        "--text-encoder",
        type=Path,
        metavar="PATH",
        help="with a file of ltx2: the text encoder with which the clips must have been encoded (default: any)",
    )
    option("--rank", type=int, default=32, help="lora and timed-lora: rank of the layers (default 32)")
    option(
        "--estimate",
        action="store_true",
        help="lora, timed-lora, context-tokens and javis-*: print the memory that training needs, and stop",
    )


def run(arguments: argparse.Namespace) -> None:
    """Train the stage or run the ablation, and print the record or the table."""
    _check(arguments)
    mix = _shares(arguments.mix)
    from ..training.stages import Job, run_stage

    job = Job(
        arguments.stage,
        arguments.run,
        weights=arguments.weights,
        steps=arguments.steps,
        batch=arguments.batch,
        lr=arguments.lr,
        clips=arguments.clips,
        seed=arguments.seed,
        from_scratch=arguments.from_scratch,
        compiled=arguments.compile,
        recipe=_recipe(arguments.stage, mix, stop_gradient=arguments.stop_gradient),
        audio_from_video=arguments.audio_from_video,
        tokens=arguments.tokens,
        data=arguments.data,
        model=arguments.model and (arguments.model[0], Path(arguments.model[1])),
        text_encoder=arguments.text_encoder,
        rank=arguments.rank,
    )
    if arguments.estimate:
        from ..training.stages.estimates import estimate_of

        print(estimate_of(job))
        return
    if job.stage in ABLATIONS:
        job.folder.mkdir(parents=True, exist_ok=True)
        ABLATIONS[job.stage](job, arguments.seeds)
    elif record := run_stage(job):
        print(json.dumps(record, indent=1))


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that cannot work, before torch is imported."""
    if arguments.tokens not in (None, 1, 2, 4, 8, 16, 32):
        raise ValueError(
            f"--tokens is {arguments.tokens}; it must be a power of two, at most 32, so that it divides the 32 time bins of a clip."
        )
    if arguments.tokens and arguments.weights and arguments.weights.resolve() == ROOT / "weights":
        raise ValueError(
            "--tokens trains a prior that does not fit the shipped prior layers. Name another folder for it with --weights."
        )
    if arguments.estimate and not arguments.stage.startswith(("lora", "timed-lora", "context-tokens", "javis-")):
        raise ValueError(
            "--estimate is for lora, timed-lora, context-tokens and the stages of JavisDiT; "
            f"{arguments.stage} fits into any memory."
        )
    if arguments.model and arguments.model[0] not in REAL_MODELS:
        raise ValueError(f"--model is {arguments.model[0]}; it must be one of {', '.join(REAL_MODELS)}.")
    if find_spec("accelerate") is None:
        raise ValueError(
            "Training needs the package accelerate, which the extra [train] installs. In the pack's folder, run: "
            'pip install -e ".[train]"'
        )


def _recipe(stage: str, mix: dict[str, float], *, stop_gradient: bool) -> Recipe | None:
    """The recipe of a stage that trains the network, with the options that change it; ``None`` for other stages."""
    from dataclasses import replace

    from ..training.flow import RECIPES

    recipe = RECIPES.get(stage)
    return recipe and replace(recipe, mix=mix or recipe.mix, stop_gradient=stop_gradient)


def _ablate(job: Job, seeds: int) -> None:
    from ..training.ablations.context import page, run_ablation

    table = run_ablation(
        job.run / "ablation", job.folder / "ablation.json", seeds=seeds, clips=job.clips, compiled=job.compiled
    )
    print(page(table))


def _ablate_plan(job: Job, seeds: int) -> None:
    from ..bench.tables import markdown
    from ..training.ablations.plan import STEPS, run_plan_ablation
    from ..training.stages.sources import plan_cache

    table = run_plan_ablation(
        job.run / "plan-ablation",
        job.folder / "plan-ablation.json",
        cache=plan_cache(job),
        seeds=seeds,
        steps=job.steps or STEPS,
        compiled=job.compiled,
    )
    print(markdown(table))


def _ablate_adapter(job: Job, _seeds: int) -> None:
    from ..bench.tables import markdown
    from ..training.ablations.adapter import STEPS, run_adapter_ablation
    from ..training.stages.sources import fixed_length_clips

    table = run_adapter_ablation(
        job.run / "adapter-ablation",
        job.folder / "adapter-ablation.json",
        cache=fixed_length_clips(job),
        steps=job.steps or STEPS,
        compiled=job.compiled,
    )
    print(markdown(table))


ABLATIONS = {"ablation": _ablate, "plan-ablation": _ablate_plan, "adapter-ablation": _ablate_adapter}


def _shares(entries: Sequence[str]) -> dict[str, float]:
    shares = {}
    for entry in entries:
        task, _, share = entry.partition("=")
        try:
            shares[task] = float(share)
        except ValueError as error:
            raise ValueError(f"--mix {entry!r} is not TASK=SHARE; write for example t2av=0.6.") from error
    return shares
