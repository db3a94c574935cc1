"""``duet doctor``: where a file comes from, or whether the pack's own weights are whole."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="*", type=Path, help="files to ask; without any, the pack's own weights are listed"
    )
    parser.add_argument("--json", action="store_true", help="everything that is written inside, as JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    from ..media.provenance import describe, read_provenance
    from ..models.pocket.provenance import weights_report

    if not arguments.files:
        print("\n".join(weights_report()))
        return
    silent = 0
    for path in arguments.files:
        if not path.is_file():
            raise ValueError(f"{path} is no file.")
        found = read_provenance(path)
        if arguments.json:
            print(json.dumps({str(path): found}, indent=1))
        elif found:
            print(f"{path}\n  " + describe(found).replace("\n", "\n  "))
        else:
            silent += 1
            print(f"duet: {path}: no provenance metadata found.", file=sys.stderr)
    if silent:
        raise ValueError(
            f"{silent} of {len(arguments.files)} file(s) carry no provenance: not made with Duet, or written again by a program "
            "that drops metadata."
        )
