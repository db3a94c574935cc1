"""The prompts that ``duet generate`` reads and the files that it writes."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.documents import read_text
from ..core.files import check_output_path

MAX_CLIPS = 10_000  # of one call


def prompts_of(arguments: argparse.Namespace) -> list[str]:
    """One prompt for each clip.

    Raises:
        ValueError: the file of prompts cannot be read, holds none, or more than ``MAX_CLIPS``; or a prompt is set beside it.
    """
    if arguments.prompts is None:
        return [arguments.prompt] * arguments.batch
    if arguments.prompt:
        raise ValueError("Both a prompt and --prompts are set; use one of them.")
    prompts = [line.strip() for line in read_text(arguments.prompts).splitlines() if line.strip()]
    if not prompts:
        raise ValueError(f"{arguments.prompts} holds no prompt. Write one prompt per line.")
    if len(prompts) * arguments.batch > MAX_CLIPS:
        most = MAX_CLIPS // arguments.batch
        raise ValueError(
            f"{arguments.prompts} holds {len(prompts)} prompts; one call generates at most {most}. Split the file."
        )
    return [prompt for prompt in prompts for _ in range(arguments.batch)]


def output_paths(arguments: argparse.Namespace, count: int) -> tuple[list[Path], list[Path]]:
    """The checked paths of the clips, and of their timeline plots if requested."""
    timelines = _numbered(arguments.timeline, count) if arguments.timeline else []
    inputs = (arguments.video, arguments.audio, arguments.image, arguments.plan, arguments.prompts, arguments.timed)
    outputs = [check_output_path(path, suffix=".mp4", inputs=inputs) for path in _numbered(arguments.output, count)]
    return outputs, [check_output_path(path, suffix=".png", inputs=inputs) for path in timelines]


def _numbered(path: Path, count: int) -> list[Path]:
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{k}") for k in range(count)]
