"""Strategies as values, and the branches they cost."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duet_av.pipelines.guidance import Branch, PerStreamCFG, combine, guided, needed, passes_per_step
from duet_av.pipelines.models.pocket.denoiser import PocketDenoiser
from duet_av.pipelines.streams import Streams

X = Streams(torch.zeros(1), torch.zeros(1))


def answer(branches, _x, _sigma):
    """Text says 10 and 20, the null text 1 and 2."""
    return [Streams(torch.tensor([10.0 if b.text else 1.0]), torch.tensor([20.0 if b.text else 2.0])) for b in branches]


@given(video=st.floats(0, 20), audio=st.floats(0, 20))
def test_each_stream_is_null_plus_scale_times_difference(video, audio):
    out = guided(answer, PerStreamCFG(video, audio))(X, 0.5)
    assert out.video.item() == pytest.approx(1 + video * 9, rel=1e-4, abs=1e-4)
    assert out.audio.item() == pytest.approx(2 + audio * 18, rel=1e-4, abs=1e-4)


@given(video=st.floats(0, 20), audio=st.floats(0, 20))
def test_the_weights_of_each_stream_sum_to_one(video, audio):
    columns = zip(*PerStreamCFG(video, audio).terms(0.5).values(), strict=True)
    assert all(sum(column) == pytest.approx(1) for column in columns)


@pytest.mark.parametrize(("scales", "passes"), [((1.0, 1.0), 1), ((0.0, 0.0), 1), ((1.0, 3.0), 2), ((3.0, 3.0), 2)])
def test_a_branch_without_weight_is_not_evaluated(scales, passes):
    counted = []
    guided(lambda branches, x, s: counted.append(len(branches)) or answer(branches, x, s), PerStreamCFG(*scales))(
        X, 0.5
    )
    assert counted == [passes]
    assert passes_per_step(PerStreamCFG(*scales)) == passes


def test_neutral_scales_are_the_prediction_bit_for_bit():
    assert needed(PerStreamCFG(1.0, 1.0).terms(0.3)) == {Branch(): (1.0, 1.0)}
    assert guided(answer, PerStreamCFG(1.0, 1.0))(X, 0.3).video.item() == 10.0


def test_an_absent_stream_is_combined_to_none():
    out = combine([Streams(torch.ones(1)), Streams(torch.ones(1) * 3)], [(0.5, 0.5), (0.5, 0.5)])
    assert out.video.item() == 2.0
    assert out.audio is None


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf"), 101.0])
def test_absurd_scales_are_refused(scale):
    with pytest.raises(ValueError, match=f"audio guidance scale is {scale}"):
        PerStreamCFG(3.0, scale)


def test_branches_that_share_a_pass_are_their_separate_passes(network, inputs):
    x, _, text = inputs
    denoise = PocketDenoiser(network, text, text.map(torch.zeros_like))
    branches = [Branch(), Branch(text=False), Branch(a2v=False), Branch(v2a=False), Branch(a2v=False, v2a=False)]
    together = denoise(branches, x, 0.6)
    for branch, out in zip(branches, together, strict=True):
        (single,) = denoise([branch], x, 0.6)
        assert torch.allclose(out.video, single.video, atol=1e-5)
        assert torch.allclose(out.audio, single.audio, atol=1e-5)


def test_each_direction_is_severed_by_its_own_flag(make_network, inputs):
    """In one block nothing comes back by way of the other stream."""
    x, _, text = inputs
    denoise = PocketDenoiser(make_network(depth=1), text, text)
    joint, deaf, blind = denoise([Branch(), Branch(a2v=False), Branch(v2a=False)], x, 0.6)
    assert torch.allclose(joint.audio, deaf.audio, atol=1e-5)
    assert not torch.allclose(joint.video, deaf.video, atol=1e-3)
    assert torch.allclose(joint.video, blind.video, atol=1e-5)
    assert not torch.allclose(joint.audio, blind.audio, atol=1e-3)
