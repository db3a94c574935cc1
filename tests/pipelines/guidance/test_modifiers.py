"""Modifiers of a strategy: neutral settings change nothing, bit for bit, and each modifier follows its paper."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.modifiers import APG, CFGZero, Rescale, Schedule, UnimodalStrategy, Window
from duet_av.pipelines.guidance.strategy import FORMS, PLAIN, UCG, Branch, PerStreamCFG, guided

CFG = PerStreamCFG(4.0, 2.0)
NEUTRAL = PerStreamCFG(1.0, 1.0)
STRATEGIES = [CFG, *(UCG(form, 3.0, 2.5, 2.0, 1.5) for form in FORMS)]


def draw(seed):
    generator = torch.Generator().manual_seed(seed)
    return Streams(torch.randn(2, 3, 2, 4, 4, generator=generator), torch.randn(2, 5, 6, generator=generator))


X = draw(0)


class Backbone:
    """Fixed predictions for each branch; records the branches of each call."""

    def __init__(self):
        self.evaluated = []

    def __call__(self, branches, _x, _sigma):
        self.evaluated.append(list(branches))
        return [draw(1 + 8 * b.text + 4 * b.a2v + 2 * b.v2a + b.masked) for b in branches]


def answer(strategy, sigma=0.5):
    backbone = Backbone()
    return guided(backbone, strategy)(X, sigma), backbone.evaluated[0] if backbone.evaluated else []


def same(a, b):
    return torch.equal(a.video, b.video) and torch.equal(a.audio, b.audio)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "neutral",
    [
        Window,
        lambda s: Schedule(s, 1.0, 1.0),
        lambda s: Rescale(s, 0.0, 0.0),
        lambda s: APG(s, 1.0, 0.0),
    ],
)
def test_neutral_modifier_changes_nothing_bit_for_bit(strategy, neutral):
    (out, evaluated), (expected, needed) = answer(neutral(strategy)), answer(strategy)
    assert same(out, expected)
    assert evaluated == needed


@pytest.mark.parametrize("modifier", [Rescale, APG, CFGZero, lambda s: Schedule(s, 0.3, 0.6)])
def test_modifiers_do_not_change_an_unguided_prediction(modifier):
    (out, evaluated), (expected, _) = answer(modifier(NEUTRAL)), answer(NEUTRAL)
    assert torch.allclose(out.video, expected.video, atol=1e-6)
    assert evaluated == [PLAIN]


def test_strategy_outside_its_window_costs_one_pass():
    window = Window(CFG, start=0.8, end=0.4)
    for sigma, inside in ((0.9, False), (0.8, True), (0.4, True), (0.39, False)):
        out, evaluated = answer(window, sigma)
        expected, needed = answer(CFG if inside else NEUTRAL, sigma)
        assert same(out, expected)
        assert evaluated == needed
    assert set(window.possible_branches()) == {PLAIN, Branch(text=False)}


@given(gain=st.floats(0.05, 0.95))
def test_schedule_interpolates_between_plain_and_guided(gain):
    out, _ = answer(Schedule(CFG, gain, gain))
    plain, full = answer(NEUTRAL)[0], answer(CFG)[0]
    assert torch.allclose(out.video, plain.video.lerp(full.video, gain), atol=1e-5)
    through = guided(Backbone(), Schedule(Rescale(CFG), gain, gain))(X, 0.5)
    assert torch.allclose(through.audio, plain.audio.lerp(answer(Rescale(CFG))[0].audio, gain), atol=1e-5)


def test_schedule_gain_is_linear_in_the_noise_level():
    assert [Schedule(CFG, 1.0, 0.5).gain(sigma) for sigma in (1.0, 0.5, 0.0)] == [1.0, 0.75, 0.5]


def test_rescale_restores_the_standard_deviation_of_each_stream():
    out, _ = answer(Rescale(CFG, video=1.0, audio=0.0))
    plain, full = answer(NEUTRAL)[0], answer(CFG)[0]
    assert torch.allclose(out.video.flatten(1).std(1), plain.video.flatten(1).std(1), atol=1e-4)
    assert torch.equal(out.audio, full.audio)


def test_apg_removes_the_component_parallel_to_the_plain_prediction():
    out, _ = answer(APG(CFG))
    plain = answer(NEUTRAL)[0]
    step = (out.video - plain.video).flatten(1)
    assert (step * plain.video.flatten(1)).sum(1).abs().max() < 1e-2
    assert step.norm() > 1


def test_apg_limits_the_root_mean_square_of_each_difference():
    """With scale s the step is (s - 1) times a difference whose root mean square is at most the limit."""
    out, _ = answer(APG(CFG, parallel=1.0, limit=0.1))
    step = out.video - answer(NEUTRAL)[0].video
    assert step.flatten(1).square().mean(1).sqrt() == pytest.approx([0.3, 0.3], rel=1e-3)


def test_cfg_zero_scales_the_null_velocity_by_its_projection():
    """Fan et al. (2025): v = (1 - w) s* v_null + w v_text with s* = <v_text, v_null> / |v_null|^2."""
    out, _ = answer(CFGZero(CFG))
    text, null = (Backbone()([b], X, 0.5)[0].video for b in (PLAIN, Branch(text=False)))
    v_text, v_null = ((X.video - z).flatten(1) for z in (text, null))
    star = (v_text * v_null).sum(1, keepdim=True) / v_null.square().sum(1, keepdim=True)
    expected = X.video - (4 * v_text - 3 * star * v_null).view_as(X.video)
    assert torch.allclose(out.video, expected, atol=1e-4)


def test_cfg_zero_above_its_noise_level_evaluates_nothing():
    out, evaluated = answer(CFGZero(CFG, still=0.9), sigma=1.0)
    assert same(out, X)
    assert evaluated == []


def test_absent_stream_stays_absent():
    alone = lambda branches, x, sigma: [Streams(z.video) for z in Backbone()(branches, x, sigma)]  # noqa: E731 - one use
    for strategy in (*STRATEGIES, Rescale(CFG), APG(CFG), CFGZero(CFG), Schedule(CFG, 0.5, 0.5)):
        out = guided(alone, strategy)(Streams(X.video), 0.5)
        assert out.audio is None
        assert torch.allclose(out.video, answer(strategy)[0].video)


@pytest.mark.parametrize("wrap", [APG, CFGZero, UnimodalStrategy])
@pytest.mark.parametrize("inner", [Rescale(CFG), Window(APG(CFG))])
def test_modifiers_of_branches_must_follow_the_strategy_directly(wrap, inner):
    with pytest.raises(ValueError, match=r"right after the strategy.*Swap"):
        wrap(inner)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Window(CFG, 0.2, 0.8),
        lambda: Schedule(CFG, 1.5, 0.0),
        lambda: Rescale(CFG, -0.1, 0.0),
        lambda: APG(CFG, 2.0),
        lambda: CFGZero(CFG, 0.0),
    ],
)
def test_invalid_values_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be|must satisfy"):
        wrong()
