"""List the error messages of the pack: ``python docs/messages.py`` prints those that ``docs/troubleshooting.md`` does not explain.

A message is the text of a ``raise ValueError``, ``raise OSError`` or ``_failed`` in ``nodes`` or ``pipelines``. Of a formatted text
only the fixed words count. The page explains a message if the first column of one of its tables quotes some of these words.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
SHORTEST = 12  # characters of a quotation: fewer would fit unrelated messages
HOST = "## Messages of ComfyUI itself"
ERRORS = ("ValueError", "OSError", "_failed")


class Message(NamedTuple):
    """Where a message is raised, and its fixed words between the values."""

    place: str
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: {' ... '.join(self.fixed)}"


def fixed_words(value: ast.expr) -> Iterator[str]:
    """The literal parts of an expression that makes a text, from left to right."""
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            for part in parts:
                yield from fixed_words(part)
        case ast.BinOp(left=left, right=right):
            yield from fixed_words(left)
            yield from fixed_words(right)


def messages(root: Path = ROOT) -> list[Message]:
    """Every message with fixed words long enough to be quoted, in the order of the files."""
    found = []
    for path in sorted(path for layer in ("nodes", "pipelines") for path in (root / layer).rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            if getattr(call.func, "id", "") in ERRORS and call.args:
                fixed = tuple(" ".join(text.split()) for text in fixed_words(call.args[0]))
                if any(len(text) > SHORTEST for text in fixed):
                    found.append(Message(f"{path.relative_to(root)}:{call.lineno}", fixed))
    return found


def quotations(page: str) -> list[str]:
    """What the first column of the page's tables quotes, without the section on ComfyUI's own messages."""
    before, _, after = page.partition(HOST)
    ours = before + after[after.find("\n## ") :]
    rows = (line.split("|")[1] for line in ours.splitlines() if line.startswith("| `"))
    return [quoted for row in rows for quoted in re.findall(r"`([^`]+)`", row)]


def unexplained(page: str, root: Path = ROOT) -> list[Message]:
    """The messages that the page does not explain."""
    quoted = quotations(page)
    return [m for m in messages(root) if not any(words in text for words in quoted for text in m.fixed)]


def stale(page: str, root: Path = ROOT) -> list[str]:
    """The quotations that are too short, or that no message contains any more."""
    texts = [text for message in messages(root) for text in message.fixed]
    return [words for words in quotations(page) if len(words) < SHORTEST or not any(words in text for text in texts)]


if __name__ == "__main__":
    page = PAGE.read_text()
    for item in (*unexplained(page), *stale(page)):
        print(item)
