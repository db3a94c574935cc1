"""Parts of a model in the layout of diffusers and transformers: a folder for each, with its sizes in ``config.json`` and its weights in
safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core.documents import read_object

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
TAIL = 2**20  # bytes at the end of a weights file that, with its size, identify it


def part_config(part: Path, kind: str, *entries: str) -> dict[str, Any]:
    """The configuration of ``part``, whose class name begins with ``kind`` and which has ``entries``.

    Raises:
        ValueError: the part is missing or damaged, or belongs to another model.
    """
    file = part / "config.json"
    config = read_object(file)
    listed = config.get("architectures")
    own = config.get("_class_name") or (listed[0] if isinstance(listed, list) and listed else "unknown class")
    if not str(own).startswith(kind):
        raise ValueError(f"{file} describes a {own}; {kind} is required. Name the folder of the right model.")
    if missing := [name for name in entries if name not in config]:
        raise ValueError(f"{file} has no entry {missing[0]!r}. Download it again.")
    return config


def fingerprint(parts: Iterable[Path]) -> str:
    """A hash of the configurations of ``parts``, and of the size and the last bytes of their weights."""
    digest = hashlib.sha256()
    for part in parts:
        config = part / "config.json"
        digest.update(config.read_bytes() if config.is_file() else b"")
        for file in sorted(file for file in part.iterdir() if file.suffix in WEIGHTS):
            size = file.stat().st_size
            with file.open("rb") as stream:
                stream.seek(max(0, size - TAIL))
                digest.update(f"{file.name} {size}".encode() + stream.read())
    return digest.hexdigest()
