"""Tiny flow stages and settings for the tests of training."""

from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.models.pocket.network import TwinStreamDiT
from duet_av.pipelines.models.pocket.text import TextEncoder
from duet_av.pipelines.training.data import LatentCache
from duet_av.pipelines.training.flow import (
    RECIPES,
    FlowStage,
)
from duet_av.pipelines.training.loop import Settings


@pytest.fixture
def make_stage(make_network, tmp_path):
    """Tiny flow stages over four clips, which every judge scores 1."""

    def make(name="joint", **changes):
        return _stage(make_network, tmp_path, name, replace(RECIPES[name], **changes))

    return make


@pytest.fixture
def stage(make_stage):
    return make_stage()


def _stage(make_network, tmp_path, name, recipe):
    torch.manual_seed(0)
    encoder = TextEncoder(words=["ball", "bell"], dim=12, depth=1, heads=2)
    network = TwinStreamDiT(make_network().config)
    network.init_weights()
    cache = LatentCache(torch.randn(4, 3, 3, 4, 4), torch.randn(4, 5, 12), torch.randint(1, 5, (4, 2, 48)))
    return FlowStage(name, cache, network, encoder, tmp_path, recipe=recipe, judge=lambda *_: {"score": 1.0})


@pytest.fixture
def settings():
    """Settings of a short run in a folder."""
    return _settings


def _settings(folder, **changes):
    usual = {
        "steps": 12,
        "batch": 8,
        "lr": 3e-3,
        "run": folder / "run",
        "warmup": 2,
        "score_every": 4,
        "bfloat16": False,
    }
    return Settings(**{**usual, **changes})
