"""Properties of the pocket network with known answers (CCL: one network, each task selected by its route)."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.pocket.network import POCKET, TwinStreamDiT

OPEN, CLOSED = torch.tensor([True, True]), torch.tensor([False, False])


def close(a, b, tolerance=1e-5):
    return all(torch.allclose(x, y, atol=tolerance) for x, y in zip(a.present(), b.present(), strict=True))


def unimodal(network, x, sigma, text):
    """T2V and T2A: each stream with the other absent."""
    video = network(Streams(x.video), Streams(sigma.video), Streams(text.video)).video
    return Streams(video, network(Streams(None, x.audio), Streams(None, sigma.audio), Streams(None, text.audio)).audio)


def test_with_a_zero_output_projection_joint_equals_unimodal(network, inputs):
    for half in (half for block in network.pairs() for half in block.present()):
        nn.init.zeros_(half.context_attention.to_out.weight)
        nn.init.zeros_(half.context_attention.to_out.bias)
    assert close(network(*inputs), unimodal(network, *inputs), 1e-6)


def test_with_an_output_projection_joint_differs_from_unimodal(network, inputs):
    assert not close(network(*inputs), unimodal(network, *inputs), 1e-2)


def test_closed_routes_equal_the_unimodal_task(network, inputs):
    assert close(network(*inputs, route=Streams(CLOSED, CLOSED)), unimodal(network, *inputs))


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
    """V2A: the kept video sees only its context tokens, so that the audio reads the same states at every step."""
    x, sigma, text = inputs
    clean = Streams(torch.zeros(2, 1), sigma.audio)
    route = Streams(CLOSED, OPEN)
    first = network(x, clean, text, route=route)
    later = network(
        Streams(x.video, torch.randn_like(x.audio)), Streams(clean.video, sigma.audio / 3), text, route=route
    )
    assert torch.equal(first.video, later.video)
    assert not torch.allclose(first.audio, later.audio)


def test_a_batch_of_mixed_tasks_equals_separate_batches(network, inputs):
    x, sigma, text = inputs
    route = Streams(torch.tensor([True, False]), torch.tensor([False, True]))
    mixed = network(x, sigma, text, route=route)
    for row in (slice(0, 1), slice(1, 2)):
        cut = lambda s, row=row: s.map(lambda z: z[row])  # noqa: E731
        single = network(cut(x), cut(sigma), cut(text), route=cut(route))
        assert close(cut(mixed), single)


@pytest.mark.parametrize(("changed", "kept"), [("video", "audio"), ("audio", "video")])
def test_both_directions_read_the_earlier_state(make_network, inputs, changed, kept):
    """Within a block, the update of one stream must not reach the other, which reads the state before it."""
    before, after = make_network(depth=1), make_network(depth=1)
    with torch.no_grad():
        weight = getattr(after.pairs()[0], changed).context_attention.to_out.weight
        weight.add_(torch.randn_like(weight))
    a, b = before(*inputs), after(*inputs)
    assert torch.equal(getattr(a, kept), getattr(b, kept))
    assert not torch.allclose(getattr(a, changed), getattr(b, changed))


def test_padding_does_not_change_the_output(network, inputs):
    x, sigma, text = inputs
    longer = text.map(lambda e: torch.cat([e, torch.zeros(2, 5, 12)], 1))
    assert close(network(x, sigma, text), network(x, sigma, longer))


def test_each_stream_reads_its_own_text(network, inputs):
    x, sigma, text = inputs
    closed = Streams(CLOSED, CLOSED)
    a = network(x, sigma, text, route=closed)
    b = network(x, sigma, Streams(text.video, text.audio * 2), route=closed)
    assert torch.equal(a.video, b.video)
    assert not torch.allclose(a.audio, b.audio)


def test_equal_levels_for_all_frames_equal_one_level(network, inputs):
    x, sigma, text = inputs
    each = Streams(sigma.video.expand(-1, 3), sigma.audio.expand(-1, 13))
    assert close(network(x, sigma, text), network(x, each, text))


def test_a_kept_first_frame_has_its_own_noise_level(network, inputs):
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
    """An audio token and the video frame at the same time have the same rotary time, for any lengths."""
    place = network.geometry(Streams(torch.zeros(1, 3, 8, 4, 4), torch.zeros(1, 5, 32)))
    video, audio = place.video.positions[:, 0], place.audio.positions[:, 0]
    assert torch.allclose(video, audio.view(8, 4).mean(1))


def test_the_window_limits_cross_modal_attention(make_network, inputs):
    """With one block, the first latent frame must not depend on the last third of the audio."""
    network = make_network(depth=1)
    nn.init.zeros_(
        network.pairs()[0].audio.self_attention.to_out.weight
    )  # otherwise self-attention would spread the change first
    x, sigma, text = inputs
    later = x.audio.clone()
    later[:, :, -4:] += 1
    a, b = network(x, sigma, text), network(Streams(x.video, later), sigma, text)
    assert torch.allclose(a.video[:, :, 0], b.video[:, :, 0], atol=1e-5)
    assert not torch.allclose(a.video[:, :, 2], b.video[:, :, 2], atol=1e-3)


def test_sizes_that_are_not_whole_patches_are_refused(network, inputs):
    _, sigma, text = inputs
    with pytest.raises(ValueError, match="5 x 8 cells; both must be multiples of 4"):
        network(Streams(torch.zeros(2, 3, 3, 5, 8)), Streams(sigma.video), Streams(text.video))


def test_all_layers_are_built_by_operations():
    built = []

    def recorded(kind):
        return lambda *args, **kwargs: built.append(kind) or getattr(nn, kind)(*args, **kwargs)

    operations = SimpleNamespace(**{kind: recorded(kind) for kind in ("Linear", "RMSNorm", "LayerNorm")})
    network = TwinStreamDiT(POCKET, operations=operations)
    layers = sum(isinstance(m, nn.Linear | nn.RMSNorm | nn.LayerNorm) for m in network.modules())
    assert len(built) == layers


def test_a_new_network_predicts_zero(inputs):
    torch.manual_seed(0)
    network = TwinStreamDiT(POCKET)
    network.init_weights()
    x = Streams(torch.randn(1, 16, 2, 8, 8), torch.randn(1, 24, 8))
    sigma, text = Streams(torch.ones(1, 1), torch.ones(1, 1)), Streams(torch.randn(1, 4, 128), torch.randn(1, 4, 128))
    out = network(x, sigma, text)
    assert torch.count_nonzero(out.video) == torch.count_nonzero(out.audio) == 0
