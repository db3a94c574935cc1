"""The project's tasks. ``nox -l`` lists them; CONTRIBUTING.md says when each is due."""

from __future__ import annotations

import re
from pathlib import Path

import nox

PINS = "constraints-cpu.txt"
OLDEST_TRANSFORMERS = re.search(r"transformers>=(\S+)", Path("requirements.txt").read_text())[1]
TORCH = re.search(r"^torch==\S+", Path(PINS).read_text(), re.MULTILINE)[0]
nox.options.sessions = ["test"]


@nox.session
def test(session: nox.Session) -> None:
    """The tests at the pinned versions, as the README runs them."""
    session.install("-c", PINS, "-e", ".[torch,test]")
    session.run("python", "-m", "pytest", "-q", "-rs", *session.posargs)


@nox.session
def newest(session: nox.Session) -> None:
    """The tests at the newest versions of the day; torch alone stays the pinned CPU build."""
    session.install(TORCH)
    session.install("-e", ".[torch,test]")
    session.run("python", "-m", "pytest", "-q", "-rs", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """The planner's tests at the oldest transformers that requirements.txt allows."""
    session.install(TORCH, f"transformers=={OLDEST_TRANSFORMERS}.0", "-e", ".[torch,test]")
    session.run("python", "-m", "pytest", "-q", "-rs", *(session.posargs or ["tests/pipelines/test_qwen.py"]))
