"""The fields that ComfyUI's registry reads in pyproject.toml, by its published rules (docs.comfy.org/registry/specifications).

``nox -s registry`` runs the registry's own check, ``comfy node validate``.
"""

import re
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("tomllib is part of Python since 3.11", allow_module_level=True)

import tomllib

SYSTEMS = ("Microsoft", "POSIX", "MacOS", "OS Independent")
ACCELERATORS = ("NVIDIA CUDA", "AMD ROCm", "Intel Arc", "Huawei Ascend", "Apple Metal")


@pytest.fixture
def settings(root):
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_name_version_and_licence_are_as_the_registry_demands(settings, root):
    project = settings["project"]
    assert re.fullmatch(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*", project["name"])
    assert len(project["name"]) < 100
    assert "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert (root / project["license"]["file"]).is_file()
    assert project["description"]


def test_classifiers_are_known_to_the_registry(settings):
    for classifier in settings["project"]["classifiers"]:
        kind, _, value = classifier.partition(" :: ")
        if kind == "Operating System":
            assert value.startswith(SYSTEMS), classifier
        if kind == "Environment":
            assert value.endswith(ACCELERATORS), classifier


def test_the_pack_names_its_publisher_and_the_versions_it_needs(settings):
    comfy = settings["tool"]["comfy"]
    assert re.fullmatch(r"[a-z0-9-]+", comfy["PublisherId"])
    assert comfy["DisplayName"]
    for part in comfy["requires-comfyui"].split(","):
        assert re.fullmatch(r"(==|>=|<=|!=|~=|>|<)\d+\.\d+\.\d+", part.strip()), part


def test_dependencies_are_read_from_the_file_that_comfyui_installs(settings, root):
    assert settings["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    assert "torch" not in {
        re.split(r"[<>=\[; ]", line)[0] for line in (root / "requirements.txt").read_text().split("\n")
    }
