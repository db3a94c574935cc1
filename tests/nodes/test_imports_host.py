"""Every name of ComfyUI that the nodes use exists in this ComfyUI, and is called with arguments that it accepts."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: imports were not checked"),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed: imports were not checked"),
]
GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@example.invalid"]


@pytest.fixture
def cloned(tmp_path):
    """A git repository with the modules of this ComfyUI, as the tool expects it."""
    clone, source = tmp_path / "cache" / "ComfyUI", Path(os.environ["COMFYUI_PATH"])
    clone.mkdir(parents=True)
    for package in ("comfy", "comfy_api", "comfy_execution", "comfy_extras"):
        shutil.copytree(source / package, clone / package, ignore=shutil.ignore_patterns("__pycache__"))
    for module in source.glob("*.py"):
        shutil.copy(module, clone)
    for command in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-qm", "ComfyUI"], ["tag", "tested"]):
        subprocess.run([*GIT, *command], cwd=clone, check=True)
    return clone.parent


def guard(cloned, packs):
    """What comfy-import-guard reports of the packs in a folder."""
    options = ["--offline", "--json", "--quiet", "--cache-dir", str(cloned), "check", "--no-update"]
    command = [sys.executable, "-m", "comfy_import_guard.cli", *options, "--target", "tested"]
    done = subprocess.run([*command, "--comfy-dir", str(packs)], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_every_host_name_that_the_nodes_use_exists(cloned, root, tmp_path):
    pytest.importorskip("comfy_import_guard", reason="comfy-import-guard is not installed: imports were not checked")
    packs = tmp_path / "host" / "custom_nodes"
    shutil.copytree(root / "nodes", packs / "duet" / "nodes", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "__init__.py", packs / "duet")
    (packs / "faulty").mkdir()
    (packs / "faulty" / "__init__.py").write_text("from comfy.samplers import a_name_that_was_removed\n")
    found = {pack["pack"]: pack for pack in guard(cloned, packs.parent)["packs"]}
    duet, faulty = found["duet"], found["faulty"]
    assert [entry["symbol"] for entry in faulty["breaking"]] == ["a_name_that_was_removed"]
    assert duet["references"] > 100
    assert {key: duet[key] for key in ("breaking", "soft", "signature_drift", "unparseable")} == {
        "breaking": [],
        "soft": [],
        "signature_drift": [],
        "unparseable": [],
    }
