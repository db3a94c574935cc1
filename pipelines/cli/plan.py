"""``duet plan``: write a timeline of events for a prompt, or check an edited one."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.files import atomic_output, check_output_path
from .options import EXAMPLE
from .request import report_prompts


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet plan``."""
    parser.add_argument("prompt", help=f"what is seen and heard, e.g. '{EXAMPLE}'")
    parser.add_argument("--audio-prompt", default="", help="separate prompt for the audio (default: the prompt)")
    parser.add_argument(
        "--seed", type=int, default=0, help="plan seed; a new seed gives different event times (default 0)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="how much timelines vary; 0 writes the most likely one (default 1)",
    )
    parser.add_argument("--edit", type=Path, metavar="FILE", help="check this timeline instead of writing one")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="also plot the timeline")
    parser.add_argument("-o", "--output", type=Path, help="output text file (default: print the timeline)")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Write or check the timeline."""
    outputs = [(arguments.output, ".txt"), (arguments.picture, ".png")]
    for path, suffix in outputs:
        if path is not None:
            check_output_path(path, suffix=suffix, inputs=[arguments.edit])
    from ..core.saved_plan import read_timeline
    from ..models.planner.load import load_planner

    edited = None if arguments.edit is None else read_timeline(arguments.edit)
    planner = load_planner()
    report_prompts(planner.language.words, [arguments.prompt, arguments.audio_prompt])
    if edited is None:
        edited = planner.write(
            arguments.prompt, arguments.audio_prompt, seed=arguments.seed, temperature=arguments.temperature
        )
    planner.language.write(edited)  # raises if the planner does not support the timeline
    if arguments.output is None:
        print(edited)
    else:
        with atomic_output(arguments.output) as temporary:
            temporary.write_text(f"{edited}\n", encoding="utf-8")
    if arguments.picture is not None:
        from ..figures.canvas import write_png
        from ..figures.plan import draw_plan

        write_png(arguments.picture, draw_plan(edited, seconds=planner.config.seconds, title=arguments.prompt))
