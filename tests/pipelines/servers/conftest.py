"""A workflow, a clip and imitations of ComfyUI servers."""

import contextlib
import json

import pytest
import torch
from fake_comfy import FakeComfy

from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.media.mp4 import write_mp4

GRAPH = {
    "1": {"class_type": "LoadSomething", "inputs": {"name": "model"}},
    "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 40}},
    "3": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], "filename_prefix": "video/clip"}},
}


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(GRAPH))
    return path


@pytest.fixture(scope="session")
def clip_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(16, 32, 32, 3, generator=generator)
    write_mp4(path, Clip(frames, 16.0, torch.rand(1, 16_000, generator=generator) - 0.5, 16_000))
    return path.read_bytes()


@pytest.fixture
def fake(clip_bytes):
    """Starts imitations of servers, which end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **changes: stack.enter_context(FakeComfy(clip_bytes, **changes).running())
