"""The ``duet`` command. Heavy imports wait until a subcommand needs them, so that mistakes are told at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import bench, data, doctor, generate, measure, plan, sweep, train, world

COMMANDS = {
    "generate": (generate, "render a prompt to an mp4 with sound"),
    "sweep": (sweep, "make many seeds of a prompt and keep the best"),
    "plan": (plan, "write what happens when in a clip, or check what you wrote"),
    "measure": (measure, "say of any clip whether its sound and its picture agree, and how loud it is"),
    "doctor": (doctor, "say where a file comes from: model, weights, licence, prompt, seed"),
    "world": (world, "render clips of the procedural world with their exact truth"),
    "train": (train, "train a part of the pocket model"),
    "data": (data, "encode a folder of captioned clips to train on"),
    "bench": (bench, "measure synchrony on held-out prompts"),
}
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``duet``; mistakes end in one line on stderr and status 2, Ctrl-C in status 130, neither in half a file."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except (ValueError, OSError) as error:
        print(f"duet: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nduet: interrupted; nothing unfinished was left behind.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="duet",
        description="Joint audio-video generation: one prompt in, one clip out whose sound and picture belong together.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (command, about) in COMMANDS.items():
        command.add(commands.add_parser(name, help=about))
    return parser


if __name__ == "__main__":
    sys.exit(main())
