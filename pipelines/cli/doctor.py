"""``duet doctor``: print the provenance of files, or check the pack's own weights."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..core.documents import printable


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet doctor``."""
    parser.add_argument("files", nargs="*", type=Path, help="mp4 or png files (default: list the pack's own weights)")
    parser.add_argument("--json", action="store_true", help="print the complete metadata as JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the provenance of the files, or the state of the pack's weights."""
    from ..media.provenance import describe, read_provenance
    from ..models.ltx2 import pocket_config
    from ..models.pocket import load as pocket
    from ..models.pocket.provenance import next_step, weights_report

    if not arguments.files:
        files = (*pocket.FILES.values(), *pocket.ADD_ONS.values(), pocket_config.FILE)
        print("\n".join(weights_report(files)))
        print("\nWhat to do next")
        print(f"  {pocket.NAME}: {next_step(files[:-1], 'text_to_av')}")
        print(f"  {pocket_config.NAME}: {next_step(files[-1:], 'pocket_ltx2')}")
        return
    without = 0
    for path in arguments.files:
        if not path.is_file():
            raise ValueError(f"{path} is not a file. Check the path.")
        found = read_provenance(path)
        if arguments.json:
            print(json.dumps({str(path): found}, indent=1))
        elif found:
            print(f"{printable(path)}\n  " + describe(found).replace("\n", "\n  "))
        else:
            without += 1
            print(f"duet: {printable(path)}: no provenance metadata found.", file=sys.stderr)
    if without:
        raise ValueError(
            f"{without} of {len(arguments.files)} file(s) have no provenance metadata: they were not written by Duet, or another program "
            "removed the metadata."
        )
