"""``duet data``: encode your own captioned clips as training data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..core.files import atomic_output, check_output_path


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet data``."""
    parser.add_argument(
        "folder",
        type=Path,
        help="folder of media files (any container and frame rate), each with a caption in NAME.txt or NAME.json",
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="length of the segments (default 2)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="output file of the encoded clips (.safetensors); the report is written beside it as .json",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Encode the folder and print the report."""
    target = check_output_path(arguments.output, suffix=".safetensors")
    if not arguments.folder.is_dir():
        raise ValueError(f"{arguments.folder} is not a folder. Name a folder of media files with captions.")
    from tqdm import tqdm

    from ..bench.readings import Probes
    from ..core.sizes import ClipShape
    from ..training.clips import encode_folder, media_files
    from ..training.data import load_encoder

    shape, count = ClipShape(seconds=arguments.seconds), len(media_files(arguments.folder))
    with tqdm(desc="encode", unit="file", total=count) as bar:
        report = encode_folder(
            arguments.folder, target, shape=shape, encoder=load_encoder(), probes=Probes.load(), on_file=bar.update
        )
    with atomic_output(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    print(report)
