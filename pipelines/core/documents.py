"""Text and JSON from outside: read with limits, and printed without control characters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_TEXT = 2**24  # bytes of a text file; the indices of the largest checkpoints have about a hundredth of it


def printable(text: object) -> str:
    """``text`` on one line, with control characters and everything else that cannot be printed escaped. Names and metadata of files may
    contain escape sequences of terminals, and line breaks that imitate our own messages."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def read_text(path: Path) -> str:
    """The contents of a text file in UTF-8.

    Raises:
        ValueError: not a file, larger than ``MAX_TEXT``, or not UTF-8.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file. Check the path.")
    if (size := path.stat().st_size) > MAX_TEXT:
        raise ValueError(f"{path} has {size} bytes; text files may have at most {MAX_TEXT}. Choose a smaller file.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8: {error}.") from error


def parse_json(text: str, source: object) -> Any:
    """The value of JSON ``text``; ``source`` names its origin in errors.

    Raises:
        ValueError: not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{source}: its JSON is nested too deeply. Choose another file.") from error
    except ValueError as error:
        raise ValueError(f"{source}: not JSON ({error}).") from error


def read_object(path: Path, *entries: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: not a file, not JSON, not an object, or without one of ``entries``.
    """
    found = parse_json(read_text(path), path)
    missing = [entry for entry in entries if not isinstance(found, dict) or entry not in found]
    if not isinstance(found, dict) or missing:
        raise ValueError(f"{path}: must be a JSON object with {' and '.join(entries) or 'entries'}. Restore the file.")
    return found
