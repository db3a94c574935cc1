"""``duet train``: a part of the pocket model, or an ablation."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "stage",
        choices=(
            *("codecs", "video-decoder", "audio-probe", "video-probe", "video", "audio", "joint"),
            *("planner", "plan", "plan-adapted", "prior", "prior-layers", "ablation", "plan-ablation"),
            *("adapter", "adapter-v2a", "adapter-a2v", "adapter-ablation"),
        ),
        help="what to train; each stage needs the ones before it",
    )
    parser.add_argument(
        "--run",
        type=Path,
        default=Path("runs"),
        help="folder of checkpoints and caches; an interrupted run resumes from it (default runs)",
    )
    parser.add_argument("--steps", type=int, help="optimizer steps (default: the stage's own)")
    parser.add_argument("--batch", type=int, help="samples a step and process (default: the stage's own)")
    parser.add_argument("--lr", type=float, help="peak learning rate (default: the stage's own)")
    parser.add_argument("--clips", type=int, default=8192, help="rendered clips to learn the flow from (default 8192)")
    parser.add_argument("--data", type=Path, metavar="FILE", help="learn from clips encoded by 'duet data' instead")
    parser.add_argument(
        "--mix",
        nargs="+",
        default=[],
        metavar="TASK=SHARE",
        help="shares of the tasks t2av, ti2av, t2v+t2a, i2v+t2a, a2v and v2a (default: CCL's, normalised)",
    )
    parser.add_argument(
        "--stop-gradient", action="store_true", help="read the clean stream of A2V and V2A without a gradient"
    )
    parser.add_argument(
        "--audio-from-video",
        action="store_true",
        help="start the audio stream from the video stream where shapes agree",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each arm of an ablation (default 3)")
    parser.add_argument(
        "--compile", action="store_true", help="train through torch.compile (a CPU needs a C++ compiler for it)"
    )
    parser.add_argument(
        "--tokens",
        type=int,
        metavar="N",
        help="train a new prior of N spatial and N temporal tokens (a power of two, at most 32)",
    )
    parser.add_argument("--from-scratch", action="store_true", help="do not start from the weights in weights/")
    parser.add_argument("--weights", type=Path, help="where to write the result (default: the pack's weights/)")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    if arguments.tokens not in (None, 1, 2, 4, 8, 16, 32):
        raise ValueError(
            f"--tokens is {arguments.tokens}; it must be a power of two, at most 32: they share a clip's 32 moments."
        )
    if arguments.tokens and arguments.weights is None:
        raise ValueError(
            "--tokens makes a prior that the shipped layers may not read. Name another folder for it with --weights."
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
    from ..training.stages import Job, plan_cache

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
    from ..training.stages import Job, adapter_cache

    job = Job("adapter", arguments.run, clips=arguments.clips, seed=arguments.seed, data=arguments.data)
    table = run_adapter_ablation(
        arguments.run / "adapter-ablation",
        (arguments.weights or TABLES) / "adapter-ablation.json",
        cache=adapter_cache(job),
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
            raise ValueError(f"--mix {entry!r} is no TASK=SHARE; write e.g. t2av=0.6.") from error
    return shares
