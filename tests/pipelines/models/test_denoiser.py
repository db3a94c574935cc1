"""``prepare``: routes, kept frames and conditions, for the command line and the host."""

import pytest
import torch

from duet_av.pipelines.core.conditions import BatchPrior, Conditions, PlacedTokens, unit_grid
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.pocket.denoiser import prepare

OPEN, CLOSED = 1.0, 0.0


def tokens(samples, *counts, shown=None):
    return PlacedTokens(torch.randn(samples, unit_grid(*counts).shape[0], 3), unit_grid(*counts), shown)


@pytest.fixture
def conditions():
    return Conditions(
        Streams(tokens(2, 2, 2, 2, shown=torch.tensor([True, False])), tokens(2, 4)),
        BatchPrior(torch.randn(2, 3, 5), torch.randn(2, 4, 5)),
        Streams(tokens(2, 4), tokens(2, 2, 2, 2, shown=torch.tensor([False, True]))),
    )


def test_conditions_survive_being_flattened_for_the_host(conditions):
    named = conditions.flatten()
    assert all(len(value) == 2 for value in named.values() if isinstance(value, torch.Tensor))
    again = Conditions.unflatten({**named, "something of the host": 1})
    pairs = [
        (a, b)
        for one, two in ((conditions.plan, again.plan), (conditions.adapter, again.adapter))
        for a, b in zip(one, two, strict=True)
    ]
    for before, after in pairs:
        assert torch.equal(before.tokens, after.tokens)
        assert torch.equal(before.places, after.places)
        assert torch.equal(before.visible(), after.visible())
    assert torch.equal(again.prior.spatial, conditions.prior.spatial)
    assert again.prior.shown.all()


def test_empty_conditions_flatten_to_an_empty_dict():
    assert Conditions().flatten() == {}
    assert Conditions.unflatten({}) == Conditions()


def test_an_open_route_is_replaced_by_the_adapter_and_a_closed_one_hides_it(conditions):
    routes = torch.tensor([[OPEN, OPEN], [CLOSED, CLOSED]])
    prepared = prepare(torch.tensor([0.5, 0.5]), routes, Streams(), conditions)
    assert not prepared.route.video.any()
    assert not prepared.route.audio.any()
    assert prepared.conditions["a2v"].shown.tolist() == [True, False]
    assert prepared.conditions["v2a"].shown.tolist() == [
        False,
        False,
    ]  # hidden in the first sample, closed in the second
    assert set(prepared.conditions) == {"plan", "prior", "v2a", "a2v"}


def test_an_entirely_kept_stream_sees_only_context_tokens_and_no_adapter_tokens(conditions):
    regenerate = Streams(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), None)
    prepared = prepare(torch.tensor([0.5, 0.5]), torch.ones(2, 2), regenerate, conditions)
    assert prepared.sigma.video.tolist() == [[0.0, 0.0], [0.0, 0.5]]
    assert prepared.conditions["a2v"].shown.tolist() == [False, True]
    without = prepare(torch.tensor([0.5, 0.5]), torch.ones(2, 2), regenerate, Conditions())
    assert without.route.video.tolist() == [False, True]
    assert without.route.audio.tolist() == [True, True]
