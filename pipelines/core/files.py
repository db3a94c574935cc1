"""Atomic output files: written under a temporary name, then renamed, so that no partial file is ever left."""

from __future__ import annotations

import os
import platform
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the pack


def check_output_path(path: Path, *, suffix: str = "", inputs: Iterable[Path | None] = ()) -> Path:
    """Check that an output file can be written, before any work is done for it.

    Raises:
        ValueError: wrong suffix, missing or read-only folder, a path that is a folder or device, or one of the ``inputs``.
    """
    path = Path(path)
    if suffix and path.suffix.lower() != suffix:
        raise ValueError(f"{path} does not end in {suffix}. Rename the output, e.g. {path.stem}{suffix}.")
    target = _target(path)
    if target.is_dir():
        raise ValueError(f"{path} is a folder. Choose a file name inside it.")
    if target.exists() and not target.is_file():
        raise ValueError(f"{path} is a device or pipe, not a file. Choose a file name.")
    if not target.parent.is_dir():
        raise ValueError(f"{path}: the folder {target.parent} does not exist. Create it or choose another folder.")
    if not os.access(target.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {target.parent} cannot be written to. Choose another folder.")
    for source in inputs:
        if source is not None and target.exists() and source.exists() and os.path.samefile(source, target):
            raise ValueError(f"{path} is also an input and would be overwritten. Choose another output.")
    return path


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """A temporary path next to ``path``. It replaces ``path`` if the block succeeds and is deleted otherwise; so are temporary files of
    earlier processes that were killed. If ``path`` is a symbolic link, the file that it names is replaced and the link stays.

    Raises:
        ValueError: see ``check_output_path``.
    """
    target = _target(check_output_path(path))
    _remove_abandoned(target)
    temporary = target.with_name(f"{_prefix(target)}{os.getpid()}.part{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def share(path: Path) -> None:
    """Give a file the permissions of any new file; safetensors creates files that only their owner can read."""
    mask = os.umask(0o077)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically.

    Raises:
        ValueError: see ``check_output_path``.
    """
    with atomic_output(path) as temporary:
        temporary.write_bytes(content)


def _target(path: Path) -> Path:
    """The file that is written: the one at the end of symbolic links.

    Raises:
        ValueError: the links form a loop.
    """
    try:
        target = path.resolve() if path.is_symlink() else path
        if target.is_symlink():  # since Python 3.13, resolve accepts a loop
            raise RuntimeError("its links form a loop")
        return target
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{path} is a symbolic link that leads nowhere ({error}). Choose another file name."
        ) from error


def _prefix(target: Path) -> str:
    """Start of the names of temporary files of ``target`` that this computer writes; a folder may be shared with others."""
    return f".{target.stem}.{zlib.crc32(platform.node().encode()):08x}-"


def _remove_abandoned(target: Path) -> None:
    prefix, suffix = _prefix(target), f".part{target.suffix}"
    for path in target.parent.iterdir():
        process = path.name.removeprefix(prefix).removesuffix(suffix)
        if path.name == f"{prefix}{process}{suffix}" and process.isdecimal() and not _runs(int(process)):
            with suppress(OSError):  # another process removed it, or Windows still has it open
                path.unlink()


def _runs(process: int) -> bool:
    """Whether a process runs on this computer; on Windows, where a signal would end it, an open file cannot be deleted anyway."""
    if os.name == "nt":
        return process == os.getpid()
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
