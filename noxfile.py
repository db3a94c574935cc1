"""Tasks of the project. ``nox -l`` lists them; CONTRIBUTING.md says when to run each."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nox

PINS = "constraints-cpu.txt"
OLDEST_TRANSFORMERS = re.search(r"transformers>=(\S+)", Path("requirements.txt").read_text())[1]
TORCH = re.search(r"^torch==\S+", Path(PINS).read_text(), re.MULTILINE)[0]
# Two processes share the files of tests; a file's fixtures (a server, a model) are made once.
PROCESSES = ("-n", "2", "--dist", "loadfile")
nox.options.sessions = ["test"]


@nox.session
def test(session: nox.Session) -> None:
    """The tests at the pinned versions, as the README runs them."""
    session.install("-c", PINS, "-e", ".[torch,test]")
    session.run("python", "-m", "pytest", "-q", "-rs", *PROCESSES, *session.posargs)


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def pythons(session: nox.Session) -> None:
    """The tests in every supported Python that this computer has."""
    session.install("-c", PINS, "-e", ".[torch,test]")
    session.run("python", "-m", "pytest", "-q", "-rs", *session.posargs)


@nox.session
def newest(session: nox.Session) -> None:
    """The tests at the newest versions of the day; torch alone stays the pinned CPU build."""
    session.install(TORCH)
    session.install("-e", ".[torch,test]")
    session.run("python", "-m", "pytest", "-q", "-rs", *PROCESSES, *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """The planner's tests at the oldest transformers that requirements.txt allows."""
    session.install(TORCH, f"transformers=={OLDEST_TRANSFORMERS}.0", "-e", ".[torch,test]")
    session.run("python", "-m", "pytest", "-q", "-rs", *(session.posargs or ["tests/pipelines/models/test_qwen.py"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting and types."""
    session.install("-c", PINS, "-e", ".[torch,test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("pyright")


@nox.session
def registry(session: nox.Session) -> None:
    """The check of ComfyUI's registry before a publication; it needs no network and publishes nothing. A warning is an error."""
    session.install("comfy-cli>=1.23")
    out = session.run("comfy", "--skip-prompt", "--no-enable-telemetry", "node", "validate", silent=True)
    print(out)
    if "All validation checks passed" not in out or "Warning" in out:
        session.error("The registry's check reports the above.")


@nox.session(venv_backend="none")
def host(session: nox.Session) -> None:
    """The tests inside ComfyUI, in two processes: COMFYUI_PATH names the checkout, COMFYUI_PYTHON its Python (default python3)."""
    if not os.environ.get("COMFYUI_PATH"):
        session.error("COMFYUI_PATH is not set. Set it to a ComfyUI checkout.")
    python = os.environ.get("COMFYUI_PYTHON", "python3")
    try:
        session.run(python, "-c", "import xdist", external=True, silent=True)
    except nox.command.CommandFailed:
        session.error(f"pytest-xdist is not installed for {python}. Install the packages named in CONTRIBUTING.md.")
    session.run(python, "-m", "pytest", "tests/nodes", "-q", "-rs", *PROCESSES, *session.posargs, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, in build/site; broken links are errors."""
    session.install("-c", PINS, "mkdocs-material")
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """One table of record and its page, e.g. ``nox -s bench -- core`` or ``nox -s bench -- core --model pocket-ltx2``."""
    suite, *options = session.posargs or ["core"]
    models = options[options.index("--model") + 1 :][:1] if "--model" in options else []
    table = "-".join([suite, *(model for model in models if model != "pocket")])
    session.install("-c", PINS, "-e", ".[torch,bench,train]")  # the result pages import the ablations
    session.run("duet", "bench", suite, *options, "--json", f"weights/bench/{table}.json")
    session.run("python", "docs/make_results.py")
