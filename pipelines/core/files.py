"""Atomic output files: written under a temporary name, then renamed, so that no partial file is ever left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the pack


def check_output_path(path: Path, *, suffix: str = "") -> Path:
    """Check that an output file can be written, before any work is done for it.

    Raises:
        ValueError: wrong suffix, missing or read-only folder, or a path that is a folder.
    """
    path = Path(path)
    if suffix and path.suffix.lower() != suffix:
        raise ValueError(f"{path} does not end in {suffix}. Rename the output, e.g. {path.stem}{suffix}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Choose a file name inside it.")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: the folder {path.parent} does not exist. Create it or choose another folder.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} cannot be written to. Choose another folder.")
    return path


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """A temporary path next to ``path``. It replaces ``path`` if the block succeeds and is deleted otherwise.

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
