"""``duet bench``: tables of record."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..files import check_place


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "suite",
        choices=("core", "codecs", "guidance", "plan", "prior", "adapter", "adapter-identifiability"),
        help="what to measure; see weights/bench/ for the tables of record",
    )
    parser.add_argument("--prompts", type=int, default=1000, metavar="N", help="how many prompts (default 1000)")
    parser.add_argument("--seed", type=int, default=1000, help="list of scenes and noise (default 1000, the test list)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes of one thread each (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table; a page and a plot go beside it")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    for name, least in (("prompts", 20), ("jobs", 1)):
        if getattr(arguments, name) < least:
            raise ValueError(f"--{name} is {getattr(arguments, name)}; it must be at least {least}.")
    if arguments.json:
        for suffix in (".json", ".md", ".png"):
            check_place(arguments.json if suffix == ".json" else arguments.json.with_suffix(suffix), suffix=suffix)
    from tqdm import tqdm

    from ..metrics.bench import Run
    from ..metrics.suites import SUITES
    from ..metrics.tables import markdown, write

    suite = SUITES[arguments.suite]
    with tqdm(desc=arguments.suite, unit="prompt") as bar:
        run = Run(arguments.prompts, arguments.seed, arguments.jobs, on_chunk=bar.update)
        table = suite.measure(run)
    print(markdown(table))
    if arguments.json:
        print("\n".join(map(str, write(table, arguments.json, figure=suite.draw(table)))))
