"""The ``duet`` command. Subcommands import heavy packages only when they run, so that wrong options are reported at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import bench, data, doctor, generate, measure, plan, sweep, train, world

COMMANDS = {
    "generate": (generate, "generate clips from prompts, as mp4 files with audio"),
    "sweep": (sweep, "generate many seeds of a prompt and keep the best"),
    "plan": (plan, "write a timeline of events for a prompt, or check an edited one"),
    "measure": (measure, "measure the audio offset, synchrony and loudness of any clip"),
    "doctor": (doctor, "print the provenance of a file: model, weights, licence, prompt, seed"),
    "world": (world, "render clips of the procedural world with their exact events"),
    "train": (train, "train one part of the pocket model"),
    "data": (data, "encode a folder of captioned clips for training"),
    "bench": (bench, "measure synchrony on held-out prompts"),
}
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``duet``. Errors print one line on stderr and return 2, Ctrl-C returns 130; neither leaves a partial file."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except (ValueError, OSError) as error:
        print(f"duet: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nduet: interrupted; no partial files were left.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="duet",
        description="Joint audio-video generation: one prompt gives one clip whose sounds happen when they are seen.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (command, about) in COMMANDS.items():
        command.add(commands.add_parser(name, help=about))
    return parser


if __name__ == "__main__":
    sys.exit(main())
