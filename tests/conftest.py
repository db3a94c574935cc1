"""The pack under one fixed name, loaded as ComfyUI loads it, whatever its folder is called."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

if "duet_av" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "duet_av", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["duet_av"] = module
    spec.loader.exec_module(module)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def root():
    return ROOT
