"""Options of the commands that generate clips."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..models.choose import MODELS, POCKET

# Limits of numeric options; those of a single command win over those of all. A seed of training is multiplied by a million and more.
LIMITS: dict[str, dict[str, tuple[float | int, float | int]]] = {
    "": {
        **dict.fromkeys(("seed", "prior_seed"), (0, 2**63 - 1)),
        **dict.fromkeys(("temperature", "prior_temperature"), (0, 10)),
        "steps": (1, 1000),
        "seconds": (0.01, 600),
        **dict.fromkeys(("overlap", "piece"), (0.01, 30)),
        "timed_soft": (0, 600),
        "start": (0, 1e6),
        "batch": (1, 256),
        "takes": (1, 1000),
        "keep": (1, 1000),
        "count": (1, 10_000),
        "prompts": (20, 1_000_000),
        "jobs": (1, 256),
        "fps": (1, 240),
        "shard_size": (1, 1_000_000),
        "patience": (1, 3600),
        "clip_minutes": (0.1, 10_000),
    },
    "train": {
        "seed": (0, 2**32 - 1),
        "steps": (1, 1e9),
        "batch": (1, 1e6),
        "clips": (1, 1e8),
        "lr": (1e-12, 10),
        "seeds": (1, 1000),
        "rank": (1, 4096),
    },
    "bench": {"seed": (0, 2**32 - 1)},
    "world": {"seed": (0, 2**32 - 1)},
}
SAMPLERS = ("multistep", "euler", "heun")
GUIDANCE_FORMS = ("cfg", "U1", "U2", "U2'", "U3", "U5")
LABEL = "AI generated"
EXAMPLE = "a small red ball bounces slowly on the left at night"


def check_numbers(command: str, arguments: argparse.Namespace) -> None:
    """Check the numeric options of a command before anything is loaded.

    Raises:
        ValueError: a number that is not within its ``LIMITS``.
    """
    for name, (low, high) in (LIMITS[""] | LIMITS.get(command, {})).items():
        value = getattr(arguments, name, None)
        if isinstance(value, int | float) and not low <= value <= high:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} is {str(value)[:40]}; it must be from {_number(low)} to {_number(high)}.")


def _number(limit: float | int) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


def add_workers(parser: argparse.ArgumentParser) -> None:
    """How many pieces of the work are computed at once, and where."""
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="number of processes, with one thread each (default: this process alone); with --cluster the most pieces at once (default: "
        "all that it has CPUs or GPUs for)",
    )
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="compute on a Ray cluster, HOST:PORT or ray://HOST:PORT, or with 'local' on a Ray that is started on this computer (extra "
        "[cluster]; see docs/scale.md)",
    )


def add_words(parser: argparse.ArgumentParser) -> None:
    """Prompts, and the options of ``add_sampling``."""
    add_sampling(parser)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="number of clips per prompt (default 1)")
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="text file with one prompt per line, instead of PROMPT"
    )


def add_sampling(
    parser: argparse.ArgumentParser,
    *,
    seconds: float = 2.0,
    length: str = "length of the clip; the pocket model was trained on 2 s; 'duet extend' makes longer clips",
) -> None:
    """The prompt, and the options of sampling and guidance; ``length`` describes ``--seconds``."""
    parser.add_argument(
        "--model",
        choices=MODELS,
        default=POCKET,
        help="the model that generates: the pocket network, or LTX-2's architecture at pocket size (default pocket)",
    )
    parser.add_argument("prompt", nargs="?", default="", help=f"what is seen and heard, e.g. '{EXAMPLE}'")
    parser.add_argument("--audio-prompt", help="separate prompt for the audio (default: the prompt)")
    parser.add_argument("--negative", default="", help="negative prompt (default: empty)")
    parser.add_argument("--seed", type=int, default=0, help="clip k uses seed + k (default 0)")
    parser.add_argument("--steps", type=int, default=8, help="sampling steps (default 8)")
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default=SAMPLERS[0],
        help=f"{SAMPLERS[0]}: DPM-Solver++(2M) at high noise and Euler steps below (default); euler or heun: that method throughout",
    )
    parser.add_argument("--seconds", type=float, default=seconds, metavar="S", help=f"{length} (default {seconds:g})")
    parser.add_argument(
        "--timed",
        type=Path,
        metavar="FILE",
        help="timed events, one per line: '0.5-1.2 both: the bell' (seconds, stream, a subject of the prompt), or a plan. Within its time "
        "an event's text replaces the prompt in text attention",
    )
    parser.add_argument(
        "--timed-soft",
        type=float,
        default=0.0,
        metavar="S",
        help="length of the ramps at both ends of a timed event, in seconds (default 0)",
    )
    _add_guidance(parser)


def _add_guidance(parser: argparse.ArgumentParser) -> None:
    """The form and scales of guidance, and the noise levels between which it is applied."""
    parser.add_argument(
        "--form",
        choices=GUIDANCE_FORMS,
        help="how the prompt and the other stream guide the result: plain cfg, or a form of UCG (default U2'; cfg for a model without a "
        "trained null, such as pocket-ltx2; see docs/guidance.md)",
    )
    parser.add_argument(
        "--cfg",
        type=float,
        metavar="S",
        help="guidance scale of the prompt; 1 is off (default 2)",
    )
    parser.add_argument(
        "--context",
        type=float,
        default=3.0,
        metavar="S",
        help="guidance scale of the other stream in U2, U2', U3 and U5 (default 3)",
    )
    parser.add_argument(
        "--guide-from",
        type=float,
        default=1.0,
        metavar="SIGMA",
        help="noise level at which guidance starts; 1 is the first step (default 1)",
    )
    parser.add_argument(
        "--guide-until",
        type=float,
        default=0.0,
        metavar="SIGMA",
        help="noise level at which guidance ends; steps below it need one network pass, e.g. --steps 6 --guide-until 0.5 "
        "(default 0: guidance in every step)",
    )


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """Plan, prior, footage and adapter."""
    parser.add_argument(
        "--prior-seed",
        type=int,
        metavar="N",
        help="use a prior sampled with this seed (default: no prior); clip k uses N + k",
    )
    parser.add_argument(
        "--prior-temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="how much priors vary; 0 uses the mean (default 1)",
    )
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="timeline of events to follow, as written by 'duet plan' (default: no plan)",
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--video", type=Path, metavar="FILE", help="generate audio for this video")
    kept.add_argument(
        "--audio", type=Path, metavar="FILE", help="generate video for this audio, which is kept unchanged"
    )
    kept.add_argument("--image", type=Path, metavar="FILE", help="start the video with this image")
    parser.add_argument(
        "--adapter",
        action="store_true",
        help="with --video or --audio: condition through SAVA's masked adapter, which only passes what both streams share, instead of "
        "the model's cross-modal attention",
    )
    parser.add_argument(
        "--start",
        type=float,
        default=0.0,
        metavar="S",
        help="start time in --video or --audio, in seconds (default 0)",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="skip the domain check; quality is not guaranteed",
    )


def add_label(parser: argparse.ArgumentParser) -> None:
    """The visible label."""
    parser.add_argument(
        "--watermark",
        nargs="?",
        const=LABEL,
        default="",
        metavar="TEXT",
        help=f"show TEXT in a corner of the video (without TEXT: '{LABEL}'; default: no label)",
    )


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Output files and the visible label."""
    add_label(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="output mp4; several clips are numbered: out-0.mp4, out-1.mp4, ...",
    )
    parser.add_argument(
        "--timeline",
        type=Path,
        metavar="PNG",
        help="also plot frames, spectrogram and detected events on one time axis",
    )
