"""Each operator against its readable reference, and its invariants."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from duet_av.kernels.context_attention import context_attention, context_attention_reference, context_mass, window_mask
from duet_av.kernels.prior_attention import prior_attention, prior_attention_reference
from duet_av.kernels.rotary import rotary_table, rotate, rotate_reference
from duet_av.kernels.segment_attention import SegmentSplit, segment_attention, segment_mask
from duet_av.pipelines.core.sizes import latent_frame_of


def heads(*shape):
    return torch.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("queries", [1, 7, 63])
@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("routed", [None, "samples", "queries"])
@pytest.mark.parametrize("present", [False, True])
def test_context_attention_equals_its_reference(queries, windowed, routed, present):
    q, context = heads(3, 2, queries, 12), (heads(2, 5, 12), heads(2, 5, 12))
    other = (heads(3, 2, 9, 12), heads(3, 2, 9, 12)) if present else None
    window = torch.rand(queries, 9) < 0.4 if windowed else None
    route = {"samples": torch.tensor([True, False, True]), "queries": torch.rand(3, queries) < 0.5}.get(routed)
    fast = context_attention(q, context, other, window=window, route=route)
    slow = context_attention_reference(q, context, other, window=window, route=route)
    assert torch.allclose(fast, slow, atol=1e-6)
    leaves = [q, *context, *(other or ())]
    for a, b in zip(torch.autograd.grad(fast.sum(), leaves), torch.autograd.grad(slow.sum(), leaves), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    video=st.integers(1, 9),
    audio=st.integers(1, 40),
    reach=st.integers(-1, 3),
    space=st.integers(1, 3),
    routes=st.lists(st.booleans(), min_size=1, max_size=3),
)
def test_no_combination_of_route_and_window_leaves_a_row_empty(video, audio, reach, space, routes):
    frames = torch.arange(video).repeat_interleave(space)
    window = window_mask(frames, latent_frame_of(audio, video), reach=reach)
    for mask in (window, window.T):
        q, k = torch.randn(len(routes), 1, mask.shape[0], 4), torch.randn(len(routes), 1, mask.shape[1], 4)
        context = torch.randn(1, 2, 4), torch.ones(1, 2, 4)
        out = context_attention(q, context, (k, torch.ones_like(k)), window=mask, route=torch.tensor(routes))
        # With all values 1, the output is the sum of the weights.
        assert torch.allclose(out, torch.ones_like(out), atol=1e-6)


def test_windows_are_one_latent_frame_each_side_and_clipped_at_the_ends():
    mask = window_mask(torch.arange(8), latent_frame_of(32, 8), reach=1)
    assert mask[0].nonzero().flatten().tolist() == list(range(8))
    assert mask[3].nonzero().flatten().tolist() == list(range(8, 20))
    assert mask[7].nonzero().flatten().tolist() == list(range(24, 32))


def test_latent_frame_of_a_token_is_rounded_down():
    assert latent_frame_of(7, 3).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert latent_frame_of(157, 31)[-1] == 30


@pytest.mark.parametrize(("length", "axes", "dim"), [(1, 1, 2), (63, 1, 32), (17, 3, 32), (5, 3, 60)])
def test_rotate_equals_its_reference(length, axes, dim):
    table = rotary_table(torch.randn(length, axes) * 10, head_dim=dim)
    x = torch.randn(2, 3, length, dim)
    assert torch.allclose(rotate(x, table), rotate_reference(x, table), atol=1e-5)


def test_rotated_products_depend_only_on_the_displacement():
    q, k = torch.randn(1, 1, 1, 32), torch.randn(1, 1, 1, 32)

    def product(a, b):
        return (
            rotate(q, rotary_table(torch.tensor([a]), head_dim=32))
            * rotate(k, rotary_table(torch.tensor([b]), head_dim=32))
        ).sum()

    near, far = product([3.0, 1.0, 2.0], [5.0, 0.0, 2.5]), product([13.0, 4.0, 7.0], [15.0, 3.0, 7.5])
    assert torch.allclose(near, far, atol=1e-4)
    assert not torch.allclose(near, product([3.0, 1.0, 2.0], [6.0, 0.0, 2.5]), atol=1e-3)


def test_without_context_tokens_a_closed_route_adds_nothing():
    q, k, v = torch.randn(3, 2, 2, 5, 8)
    none = torch.zeros(2, 0, 8), torch.zeros(2, 0, 8)
    route = torch.tensor([True, False])
    out = context_attention(q, none, (k, v), window=None, route=route)
    assert torch.allclose(out[0], torch.nn.functional.scaled_dot_product_attention(q, k, v)[0], atol=1e-6)
    assert not out[1].any()
    assert not context_attention(q, none, None, window=None, route=None).any()
    assert torch.allclose(out, context_attention_reference(q, none, (k, v), window=None, route=route), atol=1e-6)


def test_context_mass_equals_attention_on_indicator_values():
    q, k = torch.randn(2, 2, 5, 8), torch.randn(2, 2, 7, 8)
    c = torch.randn(2, 3, 8)
    window = window_mask(torch.arange(5), torch.arange(7), reach=1)
    # With value 1 on the context tokens and 0 elsewhere, the output is the mass.
    shown = context_attention(q, (c, torch.ones_like(c)), (k, torch.zeros_like(k)), window=window, route=None)
    assert torch.allclose(context_mass(q, c, k, window=window), shown.mean((1, 3)), atol=1e-6)


SEGMENTS = [(0, 3, "text"), (3, 5, "video"), (5, 9, "audio"), (9, 16, "video")]


@pytest.mark.parametrize("a2v", [True, False])
@pytest.mark.parametrize("v2a", [True, False])
def test_split_queries_equal_attention_with_the_mask(a2v, v2a):
    q, k, v = torch.randn(3, 2, 4, 16, 8)
    split = SegmentSplit.of(SEGMENTS, a2v=a2v, v2a=v2a)
    mask = segment_mask(SEGMENTS, a2v=a2v, v2a=v2a)
    out = segment_attention(F.scaled_dot_product_attention, q, k, v, split)
    assert torch.allclose(out, F.scaled_dot_product_attention(q, k, v, attn_mask=mask), atol=1e-5)


def test_a_closed_direction_is_not_bypassed_through_text_rows():
    """Video rows must not receive audio through other rows, after any number of blocks."""
    seen = segment_mask(SEGMENTS, a2v=False, v2a=True).float()
    reached = torch.linalg.matrix_power(seen, 5) > 0
    video, audio = ([i for a, b, kind in SEGMENTS for i in range(a, b) if kind == s] for s in ("video", "audio"))
    assert not reached[video][:, audio].any()
    assert reached[audio][:, video].all()


@pytest.mark.parametrize("own", [None, torch.tensor([1, 0, 1])])
@pytest.mark.parametrize("copies", [1, 5])
def test_repeated_priors_do_not_change_attention(own, copies):
    q, k, v = torch.randn(3, 2, 7, 8), torch.randn(2, 2, 4, 8), torch.randn(2, 2, 4, 8)
    expected = prior_attention_reference(q, k, v, own=own, copies=copies)
    assert torch.allclose(prior_attention(q, k, v, own=own), expected, atol=1e-5)
