"""Scenes, their latents and a small untrained adapter."""

import pytest
import torch

from duet_av.pipelines.bench.readings import render
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.adapter.net import (
    AdapterConfig,
    MaskedAdapter,
)
from duet_av.pipelines.models.pocket.load import load_audio_codec, load_text_encoder, load_video_codec
from duet_av.pipelines.training.data import LatentCache
from duet_av.pipelines.world import make_scenes

MIX = {"muted": 0.5, "offscreen": 0.5}


@pytest.fixture(scope="module")
def codecs():
    return load_video_codec(), load_audio_codec()


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(5, 12, mix=MIX)


@pytest.fixture(scope="module")
def cache(codecs, scenes):
    frames, waveform = render(scenes, ClipShape())
    return LatentCache.of(LatentCache.encode(scenes, frames, waveform, codecs, load_text_encoder().tokenizer))


@pytest.fixture
def latents(cache):
    return Streams(cache.video.float(), cache.audio.float())


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MaskedAdapter(AdapterConfig(16, 24, dim=24, hidden=16, heads=2)).eval()
