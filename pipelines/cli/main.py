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
    stopped = threading.Event()
    try:
        check_numbers(arguments.name, arguments)
        with _stopped_by_signals(stopped):
            arguments.command(arguments)
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:
        if stopped.is_set():
            return _interrupted()
        if isinstance(error, (ValueError, OSError)):
            return _failed(error)
        if not (isinstance(error, MemoryError) or any(text in str(error) for text in NO_MEMORY)):
            raise
        return _failed("there is not enough memory. Use a smaller batch, shorter clips or smaller files.")
    return 0


def _failed(error: object) -> int:
    print(f"duet: error: {printable(error)}", file=sys.stderr)
    return 2


def _interrupted() -> int:
    print("\nduet: interrupted; no partial files were left.", file=sys.stderr)
    return INTERRUPTED


@contextmanager
def _stopped_by_signals(stopped: threading.Event) -> Iterator[None]:
    """Within the block, SIGTERM ends a command in the same way as Ctrl-C. ``stopped`` is set then: code in C that is interrupted may
    raise an error of its own instead of the interrupt."""

    def stop(_signal: int, _frame: object) -> NoReturn:
        stopped.set()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set a handler
        yield
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may have started us with Ctrl-C ignored
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
