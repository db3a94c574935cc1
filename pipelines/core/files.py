"""Outputs that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the pack


def check_output_path(path: Path, *, suffix: str = "") -> Path:
    """Refuse an output that could not be written, before anything is made for it.

    Raises:
        ValueError: wrong ending, missing or read-only folder, or a path that is a folder.
    """
    path = Path(path)
    if suffix and path.suffix.lower() != suffix:
        raise ValueError(f"{path} does not end in {suffix}. Name the output e.g. {path.stem}{suffix}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Name a file in it.")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: the folder {path.parent} does not exist. Create it or choose another place.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} cannot be written to. Choose another place.")
    return path


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place only if the block ends well; otherwise nothing is left.

    Raises:
        ValueError: see ``check_output_path``.
    """
    path = check_output_path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
