"""Context tokens in the cross-modal attentions of pocket LTX-2: what each route reads, and files."""

import pytest
import torch

pytest.importorskip("diffusers")

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.weights import save_weights, to_half
from duet_av.pipelines.models.addons.context import CLOSED, ContextTokens, key_bias, unrotated
from duet_av.pipelines.models.ltx2.context import load_context
from duet_av.pipelines.models.ltx2.pocket import PocketLTX2
from duet_av.pipelines.models.ltx2.pocket_config import CONTEXT_KIND, PocketLTX2Config

TINY = PocketLTX2Config(
    dim=24, depth=2, heads=2, text_dim=12, video_channels=3, audio_channels=5, video_scale=(1.0, 2.0, 3.0)
)
BATCH = 2


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = PocketLTX2(TINY).requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture
def context(network):
    torch.manual_seed(1)
    context = ContextTokens(network.context_config())
    for parameter in context.parameters():
        torch.nn.init.normal_(parameter)
    return context


def run(network, *, audio=0, video=0, **options):
    """Velocities; ``audio`` and ``video`` are the seeds of the latents."""
    draw = lambda seed, *shape: torch.randn(shape, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    x = Streams(draw(video, BATCH, 12, 2, 2, 2), draw(audio, BATCH, 5, 8))
    sigma = Streams(torch.full((BATCH, 1), 0.5), torch.full((BATCH, 1), 0.5))
    text = Streams(draw(7, BATCH, 3, 12), draw(8, BATCH, 3, 12))
    with torch.no_grad():
        return network.velocity(x, sigma, text, **options)


def flags(video, audio):
    return Streams(torch.full((BATCH,), video), torch.full((BATCH,), audio))


def test_a_closed_route_reads_the_tokens_alone_and_an_open_one_both(network, context):
    network.network.install_context(context)
    closed = flags(False, False)
    first, second = run(network, route=closed), run(network, route=closed, audio=1)
    assert torch.equal(first.video, second.video)
    assert torch.equal(run(network, route=closed, video=1).audio, first.audio)
    opened = flags(True, True)
    assert not torch.allclose(run(network, route=opened).video, run(network, route=opened, audio=1).video, atol=1e-3)
    with torch.no_grad():
        context.video.add_(1)
    assert not torch.allclose(run(network, route=closed).video, first.video, atol=1e-3)
    assert not torch.allclose(run(network, route=opened).video, run(network, route=closed).video, atol=1e-3)


def test_an_open_route_without_flags_equals_one_with_them(network, context):
    network.network.install_context(context)
    for one, other in zip(run(network).both(), run(network, route=flags(True, True)).both(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_silent_route_is_that_of_the_network_without_tokens(network, context):
    closed = flags(False, False)
    bare = run(network, route=closed)
    assert not network.trained_null
    network.network.install_context(context)
    assert network.trained_null
    for one, other in zip(run(network, route=closed, silent=flags(True, True)).both(), bare.both(), strict=True):
        assert torch.equal(one, other)


def test_routes_differ_by_row(network, context):
    network.network.install_context(context)
    mixed = Streams(torch.tensor([True, False]), torch.tensor([False, True]))
    found, opened, closed = (run(network, route=r) for r in (mixed, flags(True, True), flags(False, False)))
    # With one block alone the rows would be equal to those of the uniform routes; here only what the route decides directly is compared.
    assert not torch.allclose(found.video[1], opened.video[1], atol=1e-3)
    assert not torch.allclose(found.video[0], closed.video[0], atol=1e-3)


def test_keys_of_tokens_are_read_and_not_rotated():
    bias = key_bias(torch.tensor([True, False]), context=2, states=3)
    assert bias.tolist() == [[[0.0] * 5], [[0.0, 0.0] + [CLOSED] * 3]]
    cosines, sines = unrotated((torch.full((1, 2, 3, 4), 0.5), torch.full((1, 2, 3, 4), 0.5)), 2)
    assert cosines[0, 0, :, 0].tolist() == [1, 1, 0.5, 0.5, 0.5]
    assert sines[0, 0, :, 0].tolist() == [0, 0, 0.5, 0.5, 0.5]


def test_a_file_is_for_one_base(tmp_path, context):
    path = tmp_path / "context.safetensors"
    config = {**vars(context.config), "base": "abc"}
    save_weights(path, to_half(context), kind=CONTEXT_KIND, config=config, record={})
    loaded = load_context(path, "abc")
    assert loaded.config == context.config
    torch.testing.assert_close(loaded.video, context.video, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match=r"trained on the base abc, .*'duet train pocket-ltx2-context'"):
        load_context(path, "def")


@pytest.mark.parametrize("with_tokens", [False, True])
def test_a_route_can_be_closed_for_some_latent_frames_only(network, context, with_tokens):
    if with_tokens:
        network.network.install_context(context)
    every = lambda value: Streams(torch.full((BATCH, 2), value), torch.full((BATCH, 8), value))  # noqa: E731 - two uses
    for value in (True, False):
        for one, other in zip(
            run(network, route=every(value)).both(), run(network, route=flags(value, value)).both(), strict=True
        ):
            torch.testing.assert_close(one, other)
    first = Streams(torch.tensor([[True, False]] * BATCH), torch.zeros(BATCH, 8, dtype=torch.bool))
    found, closed = run(network, route=first), run(network, route=every(False))
    assert not torch.allclose(found.video[:, :, 0], closed.video[:, :, 0], atol=1e-4)
