"""Properties of the pocket network whose answers are known (CCL: one network, every task by its route)."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.pocket.network import POCKET, TwinStreamDiT

OPEN, CLOSED = torch.tensor([True, True]), torch.tensor([False, False])


def close(a, b, tolerance=1e-5):
    return all(torch.allclose(x, y, atol=tolerance) for x, y in zip(a.present(), b.present(), strict=True))


def alone(network, x, sigma, text):
    """T2V and T2A: each stream with the other absent."""
    video = network(Streams(x.video), Streams(sigma.video), Streams(text.video)).video
    return Streams(video, network(Streams(None, x.audio), Streams(None, sigma.audio), Streams(None, text.audio)).audio)


def test_without_the_output_projection_joint_is_both_unimodal(network, inputs):
    for half in (half for block in network.pairs() for half in block.present()):
        nn.init.zeros_(half.context_attention.to_out.weight)
        nn.init.zeros_(half.context_attention.to_out.bias)
    assert close(network(*inputs), alone(network, *inputs), 1e-6)


def test_joint_differs_from_unimodal_once_it_projects(network, inputs):
    assert not close(network(*inputs), alone(network, *inputs), 1e-2)


def test_context_alone_is_the_unimodal_task(network, inputs):
    assert close(network(*inputs, route=Streams(CLOSED, CLOSED)), alone(network, *inputs))


@pytest.mark.parametrize("stream", ["video", "audio"])
def test_a_closed_route_passes_no_gradient_between_streams(network, inputs, stream):
    x, sigma, text = inputs
    x = x.map(lambda z: z.clone().requires_grad_())
    other = x.audio if stream == "video" else x.video
    closed = getattr(network(x, sigma, text, route=Streams(CLOSED, CLOSED)), stream)
    assert torch.count_nonzero(torch.autograd.grad(closed.sum(), other)[0]) == 0
    opened = getattr(network(x, sigma, text, route=Streams(OPEN, OPEN)), stream)
    assert torch.count_nonzero(torch.autograd.grad(opened.sum(), other)[0]) > 0


def test_a_clean_stream_does_not_depend_on_the_others_noise(network, inputs):
    """V2A: the given video keeps to its context tokens, so that what it offers the audio is the same at every step."""
    x, sigma, text = inputs
    clean = Streams(torch.zeros(2, 1), sigma.audio)
    route = Streams(CLOSED, OPEN)
    first = network(x, clean, text, route=route)
    later = network(
        Streams(x.video, torch.randn_like(x.audio)), Streams(clean.video, sigma.audio / 3), text, route=route
    )
    assert torch.equal(first.video, later.video)
    assert not torch.allclose(first.audio, later.audio)


def test_a_batch_of_mixed_tasks_is_its_separate_batches(network, inputs):
    x, sigma, text = inputs
    route = Streams(torch.tensor([True, False]), torch.tensor([False, True]))
    mixed = network(x, sigma, text, route=route)
    for row in (slice(0, 1), slice(1, 2)):
        cut = lambda s, row=row: s.map(lambda z: z[row])  # noqa: E731
        single = network(cut(x), cut(sigma), cut(text), route=cut(route))
        assert close(cut(mixed), single)


@pytest.mark.parametrize(("changed", "kept"), [("video", "audio"), ("audio", "video")])
def test_both_directions_read_the_earlier_state(make_network, inputs, changed, kept):
    """In one block, what one stream takes must not reach the other: it read the state from before."""
    before, after = make_network(depth=1), make_network(depth=1)
    with torch.no_grad():
        weight = getattr(after.pairs()[0], changed).context_attention.to_out.weight
        weight.add_(torch.randn_like(weight))
    a, b = before(*inputs), after(*inputs)
    assert torch.equal(getattr(a, kept), getattr(b, kept))
    assert not torch.allclose(getattr(a, changed), getattr(b, changed))


def test_padding_changes_nothing(network, inputs):
    x, sigma, text = inputs
    longer = text.map(lambda e: torch.cat([e, torch.zeros(2, 5, 12)], 1))
    assert close(network(x, sigma, text), network(x, sigma, longer))


def test_each_stream_reads_its_own_words(network, inputs):
    x, sigma, text = inputs
    closed = Streams(CLOSED, CLOSED)
    a = network(x, sigma, text, route=closed)
    b = network(x, sigma, Streams(text.video, text.audio * 2), route=closed)
    assert torch.equal(a.video, b.video)
    assert not torch.allclose(a.audio, b.audio)


def test_equal_levels_for_all_frames_are_one_level(network, inputs):
    x, sigma, text = inputs
    each = Streams(sigma.video.expand(-1, 3), sigma.audio.expand(-1, 13))
    assert close(network(x, sigma, text), network(x, each, text))


def test_a_given_first_frame_has_its_own_level(network, inputs):
    x, sigma, text = inputs
    first = sigma.video.repeat(1, 3)
    first[:, 0] = 0
    assert not close(network(x, sigma, text), network(x, Streams(first, sigma.audio), text), 1e-3)


class _AddOn(nn.Module):
    def forward(self, x, condition, place):
        assert place.extent.ndim == 1
        return condition * x.flip(-1)


class _Read(nn.Module):
    def forward(self, condition, place):
        return place.map(lambda g: condition / len(g.positions))


def test_an_add_on_runs_only_with_its_condition(network, inputs):
    before = network(*inputs)
    network.add_ons["plan"] = _Read()
    for half in (half for block in network.pairs() for half in block.present()):
        half.add_ons["plan"] = _AddOn()
    assert close(network(*inputs), before, 0.0)
    assert not close(network(*inputs, conditions={"plan": 5.0}), before, 1e-3)


def test_time_is_shared_in_seconds(network):
    """An audio token and the video frame of the same moment have the same clock, whatever the lengths."""
    place = network.geometry(Streams(torch.zeros(1, 3, 8, 4, 4), torch.zeros(1, 5, 32)))
    video, audio = place.video.positions[:, 0], place.audio.positions[:, 0]
    assert torch.allclose(video, audio.view(8, 4).mean(1))


def test_the_window_bounds_what_is_heard(make_network, inputs):
    """With one block, the first latent frame must not notice a change in the last third of the sound."""
    network = make_network(depth=1)
    nn.init.zeros_(network.pairs()[0].audio.self_attention.to_out.weight)  # else it spreads the change first
    x, sigma, text = inputs
    later = x.audio.clone()
    later[:, :, -4:] += 1
    a, b = network(x, sigma, text), network(Streams(x.video, later), sigma, text)
    assert torch.allclose(a.video[:, :, 0], b.video[:, :, 0], atol=1e-5)
    assert not torch.allclose(a.video[:, :, 2], b.video[:, :, 2], atol=1e-3)


def test_sizes_that_make_no_whole_tokens_are_refused(network, inputs):
    _, sigma, text = inputs
    with pytest.raises(ValueError, match="5 x 8 cells; both must be multiples of 4"):
        network(Streams(torch.zeros(2, 3, 3, 5, 8)), Streams(sigma.video), Streams(text.video))


def test_layers_come_from_the_operations_given():
    made = []

    def recorded(kind):
        return lambda *args, **kwargs: made.append(kind) or getattr(nn, kind)(*args, **kwargs)

    operations = SimpleNamespace(**{kind: recorded(kind) for kind in ("Linear", "RMSNorm", "LayerNorm")})
    network = TwinStreamDiT(POCKET, operations=operations)
    layers = sum(isinstance(m, nn.Linear | nn.RMSNorm | nn.LayerNorm) for m in network.modules())
    assert len(made) == layers


def test_a_fresh_network_predicts_nothing_and_exchanges_nothing(inputs):
    torch.manual_seed(0)
    network = TwinStreamDiT(POCKET)
    network.init_weights()
    x = Streams(torch.randn(1, 16, 2, 8, 8), torch.randn(1, 24, 8))
    sigma, text = Streams(torch.ones(1, 1), torch.ones(1, 1)), Streams(torch.randn(1, 4, 128), torch.randn(1, 4, 128))
    out = network(x, sigma, text)
    assert torch.count_nonzero(out.video) == torch.count_nonzero(out.audio) == 0
