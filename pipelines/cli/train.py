"""``duet train``: train one stage of the pocket model, or run an ablation."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

STAGES = (
    *("codecs", "video-decoder", "audio-probe", "video-probe", "video", "audio", "joint"),
    *("planner", "plan", "plan-adapted", "prior", "prior-layers", "adapter", "adapter-v2a", "adapter-a2v"),
)  # in the order of training; listed here so that --help does not import torch


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet train``."""
    parser.add_argument(
        "stage", choices=(*STAGES, *ABLATIONS), help="the stage or ablation to train; each stage needs those before it"
    )
    _add_length(parser)
    _add_data(parser)
    _add_start(parser)
    parser.set_defaults(command=run)


def _add_length(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option("--steps", type=int, help="optimizer steps (default: the stage's own)")
    option("--batch", type=int, help="samples per step and process (default: the stage's own)")
    option("--lr", type=float, help="peak learning rate (default: the stage's own)")
    option("--seed", type=int, default=0, help="seed of the data and the training (default 0)")
    option("--seeds", type=int, default=3, help="training runs per arm of an ablation (default 3)")
    option("--compile", action="store_true", help="train with torch.compile (on a CPU it needs a C++ compiler)")


def _add_data(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option("--clips", type=int, default=8192, help="number of rendered clips to train on (default 8192)")
    option("--data", type=Path, metavar="FILE", help="train on clips encoded by 'duet data' instead of rendered ones")
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
    option("--weights", type=Path, help="output folder of the weights (default: the pack's weights/)")
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


def run(arguments: argparse.Namespace) -> None:
    if arguments.tokens not in (None, 1, 2, 4, 8, 16, 32):
        raise ValueError(
            f"--tokens is {arguments.tokens}; it must be a power of two, at most 32, so that it divides the 32 time bins of a clip."
        )
    if arguments.tokens and arguments.weights is None:
        raise ValueError(
            "--tokens trains a prior that does not fit the shipped prior layers. Name another folder for it with --weights."
        )
    for name in ("steps", "batch", "clips"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ValueError(f"--{name} is {getattr(arguments, name)}; it must be at least 1.")
    if arguments.stage in ABLATIONS:
        ABLATIONS[arguments.stage](arguments)
        return
    mix = _shares(arguments.mix)
    from dataclasses import replace

    from ..core.weights import WEIGHTS
    from ..training.flow import RECIPES
    from ..training.stages import Job, run_stage

    recipe = RECIPES.get(arguments.stage)
    if recipe:
        recipe = replace(recipe, mix=mix or recipe.mix, stop_gradient=arguments.stop_gradient)
    job = Job(
        arguments.stage,
        arguments.run,
        folder=arguments.weights or WEIGHTS,
        steps=arguments.steps,
        batch=arguments.batch,
        lr=arguments.lr,
        clips=arguments.clips,
        seed=arguments.seed,
        from_scratch=arguments.from_scratch,
        compiled=arguments.compile,
        recipe=recipe,
        audio_from_video=arguments.audio_from_video,
        tokens=arguments.tokens,
        data=arguments.data,
    )
    record = run_stage(job)
    if record:
        print(json.dumps(record, indent=1))


def _ablate(arguments: argparse.Namespace) -> None:
    from ..bench.tables import TABLES
    from ..training.ablations.context import page, run_ablation

    folder = arguments.weights or TABLES
    folder.mkdir(parents=True, exist_ok=True)
    run = arguments.run / "ablation"
    table = run_ablation(
        run, folder / "ablation.json", seeds=arguments.seeds, clips=arguments.clips, compiled=arguments.compile
    )
    print(page(table))


def _ablate_plan(arguments: argparse.Namespace) -> None:
    from ..bench.tables import TABLES, markdown
    from ..training.ablations.plan import STEPS, run_plan_ablation
    from ..training.stages import Job
    from ..training.stages.sources import plan_cache

    job = Job("plan", arguments.run, clips=arguments.clips, seed=arguments.seed, data=arguments.data)
    table = run_plan_ablation(
        arguments.run / "plan-ablation",
        (arguments.weights or TABLES) / "plan-ablation.json",
        cache=plan_cache(job),
        seeds=arguments.seeds,
        steps=arguments.steps or STEPS,
        compiled=arguments.compile,
    )
    print(markdown(table))


def _ablate_adapter(arguments: argparse.Namespace) -> None:
    from ..bench.tables import TABLES, markdown
    from ..training.ablations.adapter import STEPS, run_adapter_ablation
    from ..training.stages import Job
    from ..training.stages.sources import latent_cache

    job = Job("adapter", arguments.run, clips=arguments.clips, seed=arguments.seed, data=arguments.data)
    table = run_adapter_ablation(
        arguments.run / "adapter-ablation",
        (arguments.weights or TABLES) / "adapter-ablation.json",
        cache=latent_cache(job),
        steps=arguments.steps or STEPS,
        compiled=arguments.compile,
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
