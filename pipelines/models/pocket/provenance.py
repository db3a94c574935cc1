"""Provenance of the pocket model: its weights files, and the metadata of its clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...media.provenance import GENERATED, Provenance, file_hash, version
from . import load as pocket
from .reading import read_prompt


def weights_report(files: Iterable[Path]) -> list[str]:
    """One line for each of the pack's weights ``files``, with its hash, or marked as missing."""
    rows = []
    for path in files:
        if path.is_file():
            rows.append(
                f"  found    {path.name}, {path.stat().st_size / 1e6:.1f} MB, {file_hash(path)}, {pocket.LICENCE}"
            )
        else:
            rows.append(f"  MISSING  {path.name}: restore the pack's 'weights' folder")
    return rows


def next_step(files: Sequence[Path], template: str) -> str:
    """What the user can do next with the model whose weights are ``files`` and whose example graph is ``template``."""
    missing = [path for path in files if not path.is_file()]
    if not missing:
        return f"complete; open the template {template} in ComfyUI, or run 'duet generate --help'"
    return f"{missing[0].name} is missing; run 'git checkout weights' in the pack's folder, or clone the pack again"


def pocket_provenance(model: pocket.PocketModel, *, prompts: Sequence[str], seed: int, **settings: Any) -> Provenance:
    """The provenance of a clip of ``model``, for its metadata. ``settings`` that are None are omitted."""
    return {
        "origin": GENERATED,
        "pack": f"Duet {version()}",
        "model": model.name.removeprefix("the "),
        "weights": {path.name: file_hash(path) for path in model.files.values()},
        "licence": pocket.LICENCE,
        "prompts": list(prompts),
        "prompts read as": [read_prompt(prompt).caption for prompt in prompts],
        "seed": seed,
        "settings": {name: value for name, value in settings.items() if value is not None},
    }
