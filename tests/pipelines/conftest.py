"""A tiny pocket network and its inputs."""

import pytest
import torch
from hypothesis import settings

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.pocket.network import PocketConfig, TwinStreamDiT

settings.register_profile("duet", deadline=None)  # a busy machine must not fail a property
settings.load_profile("duet")

TINY = PocketConfig(
    dim=32,
    depth=2,
    heads=2,
    text_dim=12,
    video_channels=3,
    audio_channels=5,
    context_tokens=3,
    window=1,
    fps=16,
    sample_rate=16_000,
)


def build(**changes):
    """A tiny network without zero-initialised weights, so that every path affects the output."""
    torch.manual_seed(1)
    network = TwinStreamDiT(PocketConfig(**{**vars(TINY), **changes}))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return network.eval()


@pytest.fixture
def make_network():
    return build


@pytest.fixture
def network():
    return build()


@pytest.fixture
def inputs():
    """Latents, noise levels and padded text of two samples."""
    text = torch.randn(2, 6, 12)
    text[:, 4:] = 0
    x = Streams(torch.randn(2, 3, 3, 4, 8), torch.randn(2, 5, 13))
    sigma = Streams(torch.tensor([[0.7], [0.2]]), torch.tensor([[0.4], [0.9]]))
    return x, sigma, Streams(text, text.roll(1, 0))
