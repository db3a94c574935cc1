"""The ``duet`` command. Subcommands import heavy packages only when they run, so that wrong options are reported at once."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from ..core.documents import printable
from . import bench, data, doctor, extend, generate, measure, plan, sweep, train, world
from .options import check_numbers

COMMANDS = {
    "generate": (generate, "generate clips from prompts, as mp4 files with audio"),
    "extend": (extend, "generate long clips and loops, or continue a clip"),
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
NO_MEMORY = ("can't allocate memory", "out of memory")  # in the errors of torch


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line without control characters."""

    def error(self, message: str) -> NoReturn:
        """Print the error and end with status 2."""
        self.exit(2, f"{self.prog}: error: {printable(message)}. See '{self.prog} --help'.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``duet``. Errors print one line on stderr and return 2, Ctrl-C and SIGTERM return 130; none leaves a partial file."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may contain bytes that are no text
    arguments = _parse(list(sys.argv[1:] if argv is None else argv))
    try:
        check_numbers(arguments.name, arguments)
        with _interrupted_by_sigterm():
            arguments.command(arguments)
    except (ValueError, OSError) as error:
        return _failed(error)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or any(text in str(error) for text in NO_MEMORY)):
            raise
        return _failed("there is not enough memory. Use a smaller batch, shorter clips or smaller files.")
    except KeyboardInterrupt:
        print("\nduet: interrupted; no partial files were left.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _failed(error: object) -> int:
    print(f"duet: error: {printable(error)}", file=sys.stderr)
    return 2


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Within the block, SIGTERM ends a command in the same way as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set a handler
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _parse(words: list[str]) -> argparse.Namespace:
    parser = _parser()
    for word in words:
        if word.startswith("--") and word.endswith("=--"):  # argparse removes the value and fails
            parser.error(f"{word!r} has no value")
    return parser.parse_args(words)


def _parser() -> Parser:
    parser = Parser(
        prog="duet",
        description="Joint audio-video generation: one prompt gives one clip whose sounds happen when they are seen.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    for name, (command, about) in COMMANDS.items():
        command.add(commands.add_parser(name, help=about))
    return parser


if __name__ == "__main__":
    sys.exit(main())
