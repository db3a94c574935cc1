"""Strategies: their weights, the branches they evaluate, and the routes of each branch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.strategy import (
    DEFAULT,
    FORMS,
    PLAIN,
    UCG,
    Branch,
    PerStreamCFG,
    active_terms,
    combine_terms,
    default_strategy,
    guided,
    passes_per_step,
)
from duet_av.pipelines.models.pocket.denoiser import PocketDenoiser

X = Streams(torch.zeros(1), torch.zeros(1))


def answer(branches, _x, _sigma):
    """Predictions 10 and 20 with the text, 1 and 2 with the null text."""
    return [Streams(torch.tensor([10.0 if b.text else 1.0]), torch.tensor([20.0 if b.text else 2.0])) for b in branches]


@given(video=st.floats(0, 20), audio=st.floats(0, 20))
def test_cfg_is_null_plus_scale_times_difference(video, audio):
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


def test_neutral_scales_return_the_prediction_bit_for_bit():
    assert active_terms(PerStreamCFG(1.0, 1.0).terms(0.3)) == {Branch(): (1.0, 1.0)}
    assert guided(answer, PerStreamCFG(1.0, 1.0))(X, 0.3).video.item() == 10.0


def test_absent_stream_stays_absent():
    outputs = {PLAIN: Streams(torch.ones(1)), Branch(text=False): Streams(torch.ones(1) * 3)}
    out = combine_terms(outputs, dict.fromkeys(outputs, (0.5, 0.5)))
    assert out.video.item() == 2.0
    assert out.audio is None


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf"), 101.0])
def test_invalid_scales_are_refused(scale):
    with pytest.raises(ValueError, match=f"audio guidance scale is {scale}"):
        PerStreamCFG(3.0, scale)


def test_branches_in_one_pass_equal_separate_passes(network, inputs):
    x, _, text = inputs
    denoise = PocketDenoiser(network, text, text.map(torch.zeros_like))
    branches = [Branch(), Branch(text=False), Branch(a2v=False), Branch(v2a=False), Branch(a2v=False, v2a=False)]
    together = denoise(branches, x, 0.6)
    for branch, out in zip(branches, together, strict=True):
        (single,) = denoise([branch], x, 0.6)
        assert torch.allclose(out.video, single.video, atol=1e-5)
        assert torch.allclose(out.audio, single.audio, atol=1e-5)


def test_each_direction_is_closed_by_its_own_flag(make_network, inputs):
    """With one block, no information returns through the other stream."""
    x, _, text = inputs
    denoise = PocketDenoiser(make_network(depth=1), text, text)
    joint, deaf, blind = denoise([Branch(), Branch(a2v=False), Branch(v2a=False)], x, 0.6)
    assert torch.allclose(joint.audio, deaf.audio, atol=1e-5)
    assert not torch.allclose(joint.video, deaf.video, atol=1e-3)
    assert torch.allclose(joint.video, blind.video, atol=1e-5)
    assert not torch.allclose(joint.audio, blind.audio, atol=1e-3)


def test_closed_direction_uses_context_tokens_or_adds_nothing(make_network, inputs):
    """With a zero output projection, context attention adds nothing, which is what ``masked`` means."""
    x, _, text = inputs
    network = make_network(depth=1)
    denoise = PocketDenoiser(network, text, text)
    closed = Branch(a2v=False, v2a=False)
    tokens, masked = denoise([closed, Branch(a2v=False, v2a=False, masked=True)], x, 0.6)
    assert not torch.allclose(tokens.video, masked.video, atol=1e-3)
    for block in network.pairs():
        for half in block.present():
            torch.nn.init.zeros_(half.context_attention.to_out.weight)
            torch.nn.init.zeros_(half.context_attention.to_out.bias)
    nothing = denoise([closed], x, 0.6)[0]
    assert torch.allclose(masked.video, nothing.video, atol=1e-5)
    assert torch.allclose(masked.audio, nothing.audio, atol=1e-5)


SCALE = st.floats(0, 12)
FOUR = {"video": SCALE, "audio": SCALE, "a2v": SCALE, "v2a": SCALE}
LEVEL = st.floats(0, 1)


@given(form=st.sampled_from(list(FORMS)), **FOUR)
def test_the_weights_of_every_form_sum_to_one(form, **scales):
    for column in zip(*UCG(form, **scales).terms(0.5).values(), strict=True):
        assert sum(column) == pytest.approx(1, abs=1e-6)


@given(scale=SCALE)
def test_u1_u2_and_u2_prime_agree_for_equal_scales(scale):
    same = [active_terms(UCG(form, scale, scale, scale, scale).terms(0.5)) for form in ("U1", "U2", "U2'")]
    assert same[0] == same[1] == same[2]


@given(text=SCALE, audio=SCALE)
def test_neutral_scales_reduce_to_the_simpler_form(text, audio):
    without_context = active_terms(UCG("U3", text, audio, 1.0, 1.0).terms(0.5))
    assert (
        without_context
        == active_terms(UCG("U4", text, audio).terms(0.5))
        == active_terms(PerStreamCFG(text, audio).terms(0.5))
    )
    without_text = active_terms(UCG("U2", 1.0, 1.0, text, audio).terms(0.5))
    assert without_text == active_terms(UCG("U5", a2v=text, v2a=audio).terms(0.5))
    assert without_text == active_terms(UCG("U3", 1.0, 1.0, text, audio).terms(0.5))


@pytest.mark.parametrize("form", FORMS)
def test_all_scales_at_one_evaluate_only_the_plain_branch(form):
    assert active_terms(UCG(form, 1.0, 1.0, 1.0, 1.0).terms(0.5)) == {PLAIN: (1.0, 1.0)}


@pytest.mark.parametrize(("form", "passes"), [("U1", 2), ("U2", 3), ("U2'", 3), ("U3", 3), ("U4", 2), ("U5", 2)])
def test_number_of_passes_of_each_form(form, passes):
    assert passes_per_step(UCG(form, 3.0, 3.0, 2.0, 2.0)) == passes


def quadrants(branches, _x, _sigma):
    """x0 = 1 + text 10 + context 100 + both 1000, the same in both streams."""
    values = [1.0 + 10 * b.text + 100 * b.a2v + 1000 * (b.text and b.a2v) for b in branches]
    return [Streams(torch.tensor([v]), torch.tensor([v])) for v in values]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("U1", 1 + 3 * 1110),
        ("U2", 1 + 3 * 10 + 2 * 1100),
        ("U2'", 1 + 2 * 100 + 3 * 1010),
        ("U3", 1 + 3 * 10 + 2 * 100 + 4 * 1000),
        ("U4", 101 + 3 * 1010),
        ("U5", 11 + 2 * 1100),
    ],
)
def test_forms_weight_main_effects_and_interaction(form, expected):
    """x0 = mean + text + context + interaction; U3 multiplies the interaction by s_t + s_c - 1."""
    assert guided(quadrants, UCG(form, 3.0, 3.0, 2.0, 2.0))(X, 0.5).video.item() == pytest.approx(expected)


def test_each_direction_has_its_own_scale():
    out = guided(quadrants, UCG("U5", a2v=1.0, v2a=2.0))(X, 0.5)
    assert (out.video.item(), out.audio.item()) == (1111.0, 11 + 2 * 1100)


@pytest.mark.parametrize(("change", "named"), [({"form": "U9"}, "U9"), ({"v2a": -1.0}, "v2a"), ({"a2v": 101.0}, "a2v")])
def test_ucg_refuses_invalid_values(change, named):
    with pytest.raises(ValueError, match=named):
        UCG(**change)


def test_a_network_without_a_trained_null_is_guided_by_plain_cfg_unless_told_otherwise():
    assert default_strategy(trained_null=True) == DEFAULT
    assert isinstance(default_strategy(trained_null=False), PerStreamCFG)
