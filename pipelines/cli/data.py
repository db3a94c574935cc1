"""``duet data``: encode your own captioned clips as training data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..core.files import atomic_output, check_output_path
from .options import add_workers
from .workers import workers_of

SECONDS, SIZE = 2.0, "768x512"
REAL_MODELS = ("ltx2", "javisdit-v0.1", "javisdit-v1.0")  # listed here so that --help does not import torch


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet data``."""
    option = parser.add_argument
    parser.add_argument(
        "folder",
        type=Path,
        help="folder of media files (any container and frame rate), each with a caption in NAME.txt or NAME.json, or in a .csv, .json or "
        ".jsonl table with JavisDiT's or the LTX trainer's columns",
    )
    option(
        "--model",
        nargs=2,
        metavar=("NAME", "PATH"),
        help="encode with the encoders of your own model: ltx2, javisdit-v0.1 or javisdit-v1.0, and its folder; ltx2 also takes the file "
        "that ComfyUI loads (default: the pocket model)",
    )
    option(
        "--text-encoder",
        type=Path,
        metavar="PATH",
        help="with a file of ltx2: Gemma, as a folder in transformers' layout or as the file that ComfyUI loads",
    )
    option("--seconds", type=float, default=SECONDS, help=f"length of the segments (default {SECONDS:g})")
    option("--size", metavar="WxH", help=f"size of the frames with --model; portrait clips are turned (default {SIZE})")
    option("--fps", type=float, help="frame rate with --model (default 24; JavisDiT v0.1 has 24, v1.0 has 16)")
    option(
        "--changed",
        type=int,
        default=0,
        metavar="N",
        help="with --model javisdit-v0.1: also store each clip N times with both streams changed in space and in time, which 'duet train "
        "javis-prior' needs (default 0)",
    )
    option("--shard-size", type=int, metavar="MIB", help="largest size of an output file with --model (default 512)")
    option(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="output file of the encoded clips (.safetensors), with the report beside it as .json; with --model an output folder",
    )
    add_workers(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Encode the folder and print the report."""
    if not arguments.folder.is_dir():
        raise ValueError(f"{arguments.folder} is not a folder. Name a folder of media files with captions.")
    if arguments.model:
        _encode_for_model(arguments)
        return
    for name in ("text_encoder", "size", "fps", "shard_size", "changed"):
        if getattr(arguments, name):
            raise ValueError(
                f"--{name.replace('_', '-')} needs --model; the pocket model has its own encoders and sizes."
            )
    _encode_for_pocket(arguments)


def _encode_for_model(arguments: argparse.Namespace) -> None:
    name, folder = arguments.model
    if name not in REAL_MODELS:
        raise ValueError(f"--model is {name}; clips can be encoded for {', '.join(REAL_MODELS)}.")
    width, height = _pixels(arguments.size or SIZE)
    if arguments.shard_size is not None and arguments.shard_size < 1:
        raise ValueError(f"--shard-size is {arguments.shard_size}; it must be at least 1 MiB.")
    if arguments.changed and (name != "javisdit-v0.1" or arguments.changed < 0):
        raise ValueError(
            f"--changed is {arguments.changed} with --model {name}; it is 0 or more, for javisdit-v0.1 only."
        )
    from tqdm import tqdm

    from ..training.encode import MEBIBYTE, encode_clips, open_encoders
    from ..training.sidecars import find_sources

    model = open_encoders(name, Path(folder), arguments.text_encoder)
    shape = model.shape(seconds=arguments.seconds, fps=arguments.fps or model.fps, width=width, height=height)
    print(f"segments of {shape.frames} frames, {width}x{height}, {shape.fps:g} fps, {shape.seconds:.3f} s")
    limit, count = (arguments.shard_size or 512) * MEBIBYTE, len(find_sources(arguments.folder).found)
    with workers_of(arguments) as executor, tqdm(desc="encode", unit="file", total=count) as bar:
        report = encode_clips(
            arguments.folder,
            arguments.output,
            model,
            shape,
            shard_bytes=limit,
            changed=arguments.changed,
            executor=executor,
            on_file=bar.update,
        )
    print(report)


def _pixels(size: str) -> tuple[int, int]:
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"--size is {size!r}; write width and height, for example {SIZE}.")
    return int(width), int(height)


def _encode_for_pocket(arguments: argparse.Namespace) -> None:
    target = check_output_path(arguments.output, suffix=".safetensors")
    from tqdm import tqdm

    from ..core.sizes import ClipShape
    from ..training.clips import encode_folder
    from ..training.sidecars import find_sources

    shape, count = ClipShape(seconds=arguments.seconds), len(find_sources(arguments.folder).found)
    with workers_of(arguments) as executor, tqdm(desc="encode", unit="file", total=count) as bar:
        report = encode_folder(arguments.folder, target, shape=shape, executor=executor, on_file=bar.update)
    with atomic_output(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    print(report)
