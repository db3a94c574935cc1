"""Training with plans: edited clips, targets, the residual of new layers, and the ablation of plan injection."""

import math

import pytest
import torch

from duet_av.pipelines.bench.readings import Probes
from duet_av.pipelines.core.conditions import PlacedTokens, unit_grid
from duet_av.pipelines.core.statistics import over_seeds
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.addons.plan import NAME, PlanConfig
from duet_av.pipelines.models.planner.language import PAD
from duet_av.pipelines.models.planner.planner import PlannerConfig, VAPlanner
from duet_av.pipelines.models.pocket.load import load_network, load_text_encoder
from duet_av.pipelines.training.ablations import plan as plan_ablation
from duet_av.pipelines.training.ablations.plan import ARMS, PlanWords, report, run_arm
from duet_av.pipelines.training.data import CacheSpec, ClipEncoder, load_codecs
from duet_av.pipelines.training.flow import RECIPES
from duet_av.pipelines.training.plan import EDITED, PlanCache, PlanStage
from duet_av.pipelines.training.planner import PlannerBatch, PlannerStage
from duet_av.pipelines.training.stages.plan import new_plan_layers
from duet_av.pipelines.world import vocabulary
from duet_av.pipelines.world.scene import SOUNDING

CLIPS = 10


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    spec = CacheSpec(tmp_path_factory.mktemp("plan") / "clips.safetensors", seed=7, count=CLIPS)
    encoder = ClipEncoder(load_codecs(), load_text_encoder().tokenizer)
    return PlanCache.build(spec, encoder, Probes.load())


def test_a_share_of_the_clips_is_edited(cache):
    assert sum(scene.edited for scene in cache.scenes) == round(EDITED * CLIPS)
    assert len(cache.latents.video) == len(cache.features.video) == CLIPS


def test_an_edited_timeline_is_an_input_but_not_a_target(cache, tmp_path):
    sizes = cache.features.map(lambda z: z.shape[-1])
    config = PlannerConfig(
        tuple(vocabulary()), SOUNDING, cache.grid.keyframes, cache.grid.blocks, *sizes.both(), dim=32, depth=1, heads=2
    )
    stage = PlannerStage(cache, VAPlanner(config), tmp_path / "planner.safetensors", judge=lambda _: {"score": 0.0})
    batch = stage.batch(torch.Generator().manual_seed(0), 32)
    assert 0 < int(batch.follows.sum()) < 32
    none = PlannerBatch(batch.written, torch.zeros_like(batch.follows), batch.targets)
    assert stage.objective(none)["language"] == 0
    assert stage.objective(batch)["language"] > 1
    assert (batch.written != PAD).any(1).all()


def test_new_layers_add_nothing_and_their_residual_is_zero(cache, tmp_path):
    network = load_network()
    stage = PlanStage(
        "plan", cache, new_plan_layers(cache, network.config), network, load_text_encoder(), tmp_path / "plan.safetensors",
        recipe=RECIPES["joint"], base="", judge=lambda *_: {"score": 0.5},
    )  # fmt: skip
    assert stage.score() == {"score": 0.5, "residual": 0.0}
    with torch.no_grad():
        for layer in stage.objective.layers.blocks["video"]:
            layer.to_out.weight.normal_(std=0.05)
    assert 0.001 < stage.score()["residual"] < 10


@torch.inference_mode()
def test_plan_tokens_among_the_text_tokens_have_an_effect_where_they_are_shown(network, inputs):
    words = PlanWords(PlanConfig(video=6, audio=7), network.config)
    for parameter in words.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    words.install(network)

    def run(**changes):
        shown = changes.get("shown", torch.tensor([True, False]))
        tokens, at = Streams(torch.ones(2, 8, 6), torch.ones(2, 4, 7)), Streams(unit_grid(2, 2, 2), unit_grid(4))
        places = changes.get("places", at)
        return network(*inputs, conditions={NAME: tokens.map(lambda z, p: PlacedTokens(z, p, shown), places)})

    bare, half = network(*inputs), run()
    for a, b in zip(bare, half, strict=True):
        assert not torch.allclose(a[0], b[0], atol=1e-4)
        assert torch.allclose(a[1], b[1], atol=1e-5)
    elsewhere = run(places=Streams(unit_grid(2, 2, 2).flip(0) * 0.5, unit_grid(4) * 0.5))
    assert all(not torch.allclose(a[0], b[0], atol=1e-5) for a, b in zip(half, elsewhere, strict=True))


@pytest.mark.slow
def test_an_arm_is_trained_once_and_then_read_back(cache, tmp_path, monkeypatch):
    arm = "concat"
    monkeypatch.setattr(plan_ablation, "PROMPTS", 1)
    monkeypatch.setattr(plan_ablation, "SAMPLING_STEPS", 2)
    monkeypatch.setattr(plan_ablation, "BATCH", 2)
    scores = run_arm(arm, 0, cache=cache, run=tmp_path, steps=1)
    assert len(scores) == 8
    assert {"sync_f1", "sync_chance", "sync_ceiling", "plan_realised"} <= set(scores[0])
    changed = (tmp_path / f"{arm}-0.json").stat().st_mtime_ns
    assert run_arm(arm, 0, cache=cache, run=tmp_path, steps=1) == scores
    assert (tmp_path / f"{arm}-0.json").stat().st_mtime_ns == changed


def test_the_plan_ablation_compares_arms_seed_by_seed():
    def run(value):
        return [{"plan_realised": value + d, "sync_f1": 0.5, "sync_chance": 0.0, "sync_ceiling": 1.0} for d in (0, 0.2)]

    found = {"rs-rope": [run(0.5), run(0.6)], "concat": [run(0.3)]}
    assert set(found) <= set(ARMS)
    rows = report(found, steps=3, clips=4).rows
    assert rows["concat-minus-rs-rope"]["all"]["plan_realised"].mean == pytest.approx(-0.2)
    assert rows["rs-rope"]["all"]["plan_realised"].mean == pytest.approx(0.65)
    assert rows["rs-rope"]["all"]["sync_normalised"].mean == pytest.approx(0.5)


def test_means_over_seeds_skip_prompts_without_the_metric():
    found = over_seeds([[{"a": 1.0, "b": 3.0}, {"a": 0.0}], [{"a": 1.0, "b": 5.0}, {"a": 0.0}]])
    assert found["a"].mean == pytest.approx(0.5)
    assert found["b"].mean == pytest.approx(4.0)
    assert found["a"].low < 0.5 < found["a"].high
    assert not math.isnan(found["b"].low)
