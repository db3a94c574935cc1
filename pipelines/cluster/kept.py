"""Results that are kept in a folder under the hash of everything that decides them, so that work that was interrupted resumes."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..core.documents import parse_json, printable, read_text
from ..core.files import atomic_output
from .executor import Executor
from .identity import pack_digest

P = TypeVar("P")
log = logging.getLogger(__name__)


def kept(
    folder: Path, executor: Executor, function: Callable[[P], Any], pieces: Sequence[P], *, gpu: bool = False
) -> Iterator[Any]:
    """What ``executor.map`` gives, for results that JSON can hold: those that ``folder`` has are read, the others computed and stored."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{address(function, piece)}.json" for piece in pieces]
    found = [_read(path) for path in paths]
    missing = (piece for piece, value in zip(pieces, found, strict=True) if value is None)
    computed = executor.map(function, missing, gpu=gpu)
    for path, value in zip(paths, found, strict=True):
        if value is None:
            value = next(computed)
            with atomic_output(path) as temporary:
                temporary.write_text(json.dumps(value) + "\n", encoding="utf-8")
        yield value


def address(function: Callable[[P], Any], piece: P) -> str:
    """The hash of the pack, the function and the piece."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream)
    pickler.fast = True  # equal values give equal bytes, whichever of them are one object
    pickler.dump((function, piece))
    return hashlib.sha256(pack_digest().encode() + stream.getvalue()).hexdigest()[:24]


def _read(path: Path) -> Any:
    """A stored result; None if there is none, or it is damaged."""
    try:
        return parse_json(read_text(path), path) if path.is_file() else None
    except ValueError as error:
        log.warning("A piece is computed again: %s", printable(error))
        return None
