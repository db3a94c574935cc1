"""The page on errors explains every error message of the nodes and of the command line, and quotes none that no longer exists."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def listed():
    path = Path(__file__).parents[1] / "docs" / "messages.py"
    spec = importlib.util.spec_from_file_location("messages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_error_message_is_explained(listed):
    assert len(listed.messages()) > 300
    missing = listed.unexplained(listed.PAGE.read_text())
    assert missing == [], f"{missing[0]}: quote some of its fixed words in docs/troubleshooting.md"


def test_no_explanation_is_of_a_message_that_no_longer_exists(listed):
    assert listed.stale(listed.PAGE.read_text()) == []


def test_a_message_without_an_explanation_and_a_stale_one_are_found(listed, tmp_path):
    folder = tmp_path / "nodes"
    folder.mkdir()
    (tmp_path / "pipelines").mkdir()
    (folder / "new.py").write_text('raise ValueError(f"{name} is too purple for this node. " + REMEDY)\n')
    (found,) = listed.unexplained("| `was removed from the code` | x |", tmp_path)
    assert found.fixed == ("is too purple for this node.",)
    assert listed.unexplained("| `too purple for this` | x |", tmp_path) == []
    assert listed.stale("| `was removed from the code`, `too purple for this` | x |", tmp_path) == [
        "was removed from the code"
    ]
