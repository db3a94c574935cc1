"""Plan layers: positions, hidden plans, guidance with and without a plan."""

from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.core.conditions import Conditions, PlacedTokens, select_rows, unit_grid
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.modifiers import PlanScale
from duet_av.pipelines.guidance.strategy import PLAIN, Branch, PerStreamCFG
from duet_av.pipelines.models.addons.plan import NAME, PlanConfig, PlanLayers
from duet_av.pipelines.models.planner.request import join_plans
from duet_av.pipelines.models.pocket.add_ons import load_layers
from duet_av.pipelines.models.pocket.denoiser import PocketDenoiser
from duet_av.pipelines.models.pocket.network import PocketConfig, TwinStreamDiT

SMALL = PocketConfig(
    dim=24, depth=2, heads=2, text_dim=8, video_channels=3, audio_channels=5, context_tokens=2, window=1, fps=16,
    sample_rate=16_000,
)  # fmt: skip


PLAN = PlanConfig(video=6, audio=7)


def randomised(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.eval().requires_grad_(False)


@pytest.fixture
def network():
    return randomised(TwinStreamDiT(SMALL))


@pytest.fixture
def inputs():
    x = Streams(torch.randn(2, 3, 4, 8, 8), torch.randn(2, 5, 16))
    sigma = Streams(torch.full((2, 1), 0.7), torch.full((2, 1), 0.7))
    text = torch.randn(2, 4, 8)
    return x, sigma, Streams(text, text)


@pytest.fixture
def plan():
    grid = Streams(unit_grid(4, 2, 2), unit_grid(8))
    return Streams(PlacedTokens(torch.randn(2, 16, 6), grid.video), PlacedTokens(torch.randn(2, 8, 7), grid.audio))


def close(a, b, tolerance=1e-5):
    return all(torch.allclose(x, y, atol=tolerance, rtol=0) for x, y in zip(a, b, strict=True))


def planned(network, inputs, plan):
    return network(*inputs, conditions={NAME: plan})


def test_without_a_plan_or_with_a_hidden_plan_the_output_is_bit_identical_to_the_base(network, inputs, plan):
    before = network(*inputs)
    randomised(PlanLayers(PLAN, SMALL)).install(network)
    hidden = plan.map(lambda p: replace(p, shown=torch.tensor([False, True])))
    assert close(network(*inputs), before, 0.0)
    found = planned(network, inputs, hidden)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(found, before, strict=True))
    assert not close(found, before, 1e-3)


def test_untrained_layers_add_zero(network, inputs, plan):
    before = network(*inputs)
    layers = PlanLayers(PLAN, SMALL)
    layers.init_weights()
    assert close(planned(layers.install(network), inputs, plan), before, 0.0)


@pytest.mark.parametrize(("axes", "matters"), [("all", True), ("time", True), ("none", False)])
def test_the_order_of_tokens_does_not_matter_and_their_places_do(network, inputs, plan, axes, matters):
    randomised(PlanLayers(replace(PLAN, axes=axes), SMALL)).install(network)
    found = planned(network, inputs, plan)
    order = plan.map(lambda p: torch.randperm(len(p.places)))
    reordered = plan.map(lambda p, o: PlacedTokens(p.tokens[:, o], p.places[o]), order)
    moved = plan.map(lambda p, o: PlacedTokens(p.tokens, p.places[o]), order)
    assert close(planned(network, inputs, reordered), found)
    assert close(planned(network, inputs, moved), found, 1e-4) is not matters


def test_equal_grids_give_equal_positions(network, inputs):
    place = network.geometry(inputs[0])
    for grid, geometry in ((unit_grid(4, 2, 2), place.video), (unit_grid(16), place.audio)):
        assert torch.allclose(grid * geometry.extent, geometry.positions, atol=1e-5)


def test_a_coarser_grid_is_centred_on_the_cells_it_covers():
    fine, coarse = unit_grid(16), unit_grid(4)
    assert torch.allclose(coarse[:, 0], fine.view(4, 4).mean(1))


@torch.inference_mode()
def test_branches_with_and_without_the_plan_share_a_pass(network, inputs, plan):
    x, _, text = inputs
    randomised(PlanLayers(PLAN, SMALL)).install(network)
    denoise = PocketDenoiser(network, text, text, Conditions(plan))
    together = denoise([PLAIN, Branch(plan=False)], x, 0.7)
    assert close(together[0], denoise([PLAIN], x, 0.7)[0])
    assert close(together[1], PocketDenoiser(network, text, text)([PLAIN], x, 0.7)[0])
    assert not close(*together, 1e-3)


def test_plan_scale_weights_sum_to_one_and_scale_one_needs_no_extra_branch():
    inner = PerStreamCFG(2.0, 3.0)
    assert PlanScale(inner, 1.0, 1.0).branches(0.5) == inner.branches(0.5)
    terms = PlanScale(inner, 2.0, 1.5).terms(0.5)
    assert [sum(column) for column in zip(*terms.values(), strict=True)] == pytest.approx([1.0, 1.0])
    assert terms[Branch(plan=False)] == (-1.0, -0.5)
    with pytest.raises(ValueError, match="scale of the plan is -1"):
        PlanScale(inner, -1.0, 1.0)


def test_layers_trained_on_another_base_are_refused():
    with pytest.raises(ValueError, match="trained on the base"):
        load_layers("pocket-plan", SMALL, "0" * 64)


def test_plans_are_joined_and_selected_by_sample(plan):
    singles = [select_rows(plan, slice(i, i + 1)) for i in range(2)]
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(join_plans(singles), plan, strict=True))
