"""``duet measure``: measure audio offset, AV-Align and loudness of any clips."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..core.files import atomic_output, check_output_path


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet measure``."""
    parser.add_argument("files", nargs="+", type=Path, help="media files from any model or camera")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all measurements as JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure the files and print the results."""
    target = check_output_path(arguments.json, suffix=".json") if arguments.json else None
    from tqdm import tqdm

    from ..sync.measure import measure, read_signals

    found, refused = {}, 0
    for path in arguments.files:
        with tqdm(desc=path.name, unit=" s", leave=False, bar_format="{desc}: {n:.0f} s read") as bar:
            try:
                if not path.is_file():
                    raise ValueError(f"{path} is not a file. Check the path.")
                measured = measure(read_signals(path, on_seconds=lambda t, bar=bar: bar.update(t - bar.n)))
            except ValueError as error:
                refused += 1
                found[str(path)] = {"refused": str(error)}
                bar.clear()
                print(f"duet: {error}", file=sys.stderr)
                continue
        found[str(path)] = measured.to_json()
        print(f"{path}: " + str(measured).replace("\n", "\n  "))
    if target:
        with atomic_output(target) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if refused:
        raise ValueError(f"{refused} of {len(arguments.files)} file(s) could not be measured; the reasons are above.")
