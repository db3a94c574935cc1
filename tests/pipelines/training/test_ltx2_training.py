"""Training of pocket LTX-2: noise levels, loss, and a short run that resumes."""

import pytest
import torch

pytest.importorskip("diffusers")

from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.ltx2.add_ons import load_layers
from duet_av.pipelines.models.ltx2.context import load_context
from duet_av.pipelines.models.ltx2.load import copied, load_pocket_ltx2, with_timed_lora
from duet_av.pipelines.models.ltx2.pocket import PocketLTX2
from duet_av.pipelines.models.ltx2.pocket_config import PLAN_KIND, PocketLTX2Config
from duet_av.pipelines.models.planner.grid import CELLS, PER_BLOCK, PlanGrid
from duet_av.pipelines.models.pocket.load import load_text_encoder
from duet_av.pipelines.models.pocket.text import TextEncoder
from duet_av.pipelines.training.data import LatentCache
from duet_av.pipelines.training.loop import train
from duet_av.pipelines.training.ltx2 import (
    RECIPE,
    LTX2AddOnObjective,
    LTX2ContextStage,
    LTX2PlanStage,
    LTX2Stage,
    LTX2TimedStage,
    deviations,
    shifted,
    velocity_loss,
)
from duet_av.pipelines.training.plan import PlanCache
from duet_av.pipelines.training.stages.plan import new_plan_layers
from duet_av.pipelines.world import caption, make_scene


@pytest.fixture
def make_stage(tmp_path):
    def make(create=LTX2Stage):
        torch.manual_seed(0)
        cache = LatentCache(3 * torch.randn(4, 3, 2, 4, 4), torch.randn(4, 5, 8), torch.randint(1, 5, (4, 2, 48)))
        scales = {"video_scale": deviations(cache.video), "audio_scale": deviations(cache.audio)}
        sizes = {"dim": 24, "depth": 1, "heads": 2, "text_dim": 12, "video_channels": 3, "audio_channels": 5}
        encoder = TextEncoder(words=["ball", "bell"], dim=12, depth=1, heads=2)
        network = PocketLTX2(PocketLTX2Config(**sizes, **scales))
        return create(cache, network, encoder, tmp_path, judge=lambda *_: {"score": 1.0}, text_hash="abc")

    return make


def test_noise_levels_are_moved_towards_one_and_keep_their_ends():
    found = shifted(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.625, 1.0]))


def test_both_directions_are_open_and_clean_streams_have_noise_level_zero(make_stage):
    batch = make_stage().batch(torch.Generator().manual_seed(0), 64)
    assert all(route.all() for route in batch.route.both())
    video, audio = batch.sigma.both()
    clean = [(video == 0).all(1), (audio == 0).all(1), (video[:, 0] == 0) & (video[:, 1] > 0)]
    assert all(rows.any() for rows in clean)
    assert not (clean[0] & clean[1]).any()


def test_the_loss_counts_noisy_frames_only():
    x0, noise = torch.zeros(1, 2, 2, 1, 1), torch.ones(1, 2, 2, 1, 1)
    velocity = noise.clone()
    velocity[:, :, 0] = 9
    loss = velocity_loss(velocity, x0, noise, torch.tensor([[0.0, 0.5]]))
    assert loss == 0


def test_a_short_run_lowers_the_loss_leaves_the_text_encoder_unchanged_and_names_it(make_stage, settings, tmp_path):
    stage = make_stage()
    words = {name: value.clone() for name, value in stage.objective.encoder.state_dict().items()}
    batch = stage.batch(torch.Generator().manual_seed(5), 32)
    with torch.no_grad():
        before = stage.objective(batch)["loss"]
    train(stage, settings(tmp_path, steps=10))
    resumed = make_stage()
    record = train(resumed, settings(tmp_path, steps=30))
    assert record["steps"] == 30
    with torch.no_grad():
        assert resumed.objective(batch)["loss"] < before
    for name, value in resumed.objective.encoder.state_dict().items():
        assert torch.equal(value, words[name])
    assert load_pocket_ltx2(tmp_path / "pocket-ltx2.safetensors").config == stage.objective.network.config
    card = (tmp_path / "pocket-ltx2.md").read_text()
    assert "Pocket LTX-2" in card
    assert "| text_encoder | abc |" in card
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["pocket-ltx2.safetensors"]


def test_training_of_context_tokens_changes_them_alone(make_stage, settings, tmp_path):
    stage = make_stage(LTX2ContextStage)
    stage.base, network = "abc", stage.objective.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tokens = stage.objective.context.video.clone()
    routes = stage.batch(torch.Generator().manual_seed(0), 64).route
    assert all(0 < flags.float().mean() < 1 for flags in routes.both())
    train(stage, settings(tmp_path, steps=3))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not torch.equal(stage.objective.context.video, tokens)
    assert load_context(tmp_path / "pocket-ltx2-context.safetensors", "abc").config.depth == 1
    assert "Context tokens" in (tmp_path / "pocket-ltx2-context.md").read_text()


def test_timed_text_trains_lora_on_text_attention_whose_file_gives_the_trained_network(settings, tmp_path):
    scenes, encoder = [make_scene(5, k, stratum="single") for k in range(4)], load_text_encoder()
    words = encoder.tokenizer.batch([caption(scene) for scene in scenes], as_written=True)[:, None]
    cache = LatentCache(torch.randn(4, 16, 8, 8, 8), torch.randn(4, 24, 32), words)
    scales = {"video_scale": deviations(cache.video), "audio_scale": deviations(cache.audio)}
    trained, base = (PocketLTX2(PocketLTX2Config(dim=24, depth=1, heads=2, **scales)) for _ in range(2))
    base.load_state_dict(trained.state_dict())
    path = tmp_path / "pocket-ltx2-timed.safetensors"
    parts = {"rank": 4, "recipe": RECIPE, "base": "abc", "judge": lambda *_: {"score": 1.0}}
    stage = LTX2TimedStage([Streams(s, s) for s in scenes], cache, trained, encoder, path, **parts)
    learning = [name for name, p in stage.objective.named_parameters() if p.requires_grad]
    assert len(learning) == 2 * 4 * 2
    assert all("attn2" in name and "lora_" in name for name in learning)
    train(stage, settings(tmp_path, steps=4))
    merged = with_timed_lora(base, "abc", path)
    changed = {n for n, p in merged.named_parameters() if not torch.equal(p, base.get_parameter(n))}
    assert len(changed) == 2 * 4
    batch = stage.batch(torch.Generator().manual_seed(0), 4)
    x, sigma = (
        base.latent_sizes(ClipShape()).map(lambda size: torch.randn(4, *size)),
        Streams(*[torch.ones(4, 1)] * 2),
    )
    found, expected = (n(x, sigma, batch.states, timed=batch.shares) for n in (merged, trained))
    assert (found.video - expected.video).abs().max() < 1e-2 * expected.video.abs().max()
    with pytest.raises(ValueError, match="trained on the base abc"):
        with_timed_lora(base, "other", path)


def test_the_attention_kernel_of_training_is_no_other_models(make_stage):
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry

    before = _AttentionBackendRegistry.get_active_backend()
    make_stage()
    assert _AttentionBackendRegistry.get_active_backend() == before


def test_plan_layers_are_trained_alone_and_their_file_gives_the_trained_network(settings, tmp_path):
    torch.manual_seed(0)
    scenes, encoder = [make_scene(5, k, stratum="single") for k in range(4)], load_text_encoder()
    words = encoder.tokenizer.batch([caption(scene) for scene in scenes])[:, None]
    cache = LatentCache(torch.randn(4, 16, 8, 8, 8), torch.randn(4, 24, 32), words)
    grid = PlanGrid.of(32, 16 * PER_BLOCK)
    features = Streams(torch.randn(4, grid.keyframes * CELLS**2, 7), torch.randn(4, grid.blocks, 7))
    scales = {"video_scale": deviations(cache.video), "audio_scale": deviations(cache.audio)}
    network = PocketLTX2(PocketLTX2Config(dim=24, depth=1, heads=2, **scales))
    base, plans = copied(network), PlanCache(scenes, cache, features, grid)
    path, parts = tmp_path / "pocket-ltx2-plan.safetensors", {"base": "abc", "judge": lambda *_: {"score": 1.0}}
    stage = LTX2PlanStage(
        PLAN_KIND, plans, new_plan_layers(plans, network.config), network, encoder, path,
        recipe=RECIPE, make_objective=LTX2AddOnObjective, **parts,
    )  # fmt: skip
    learning = {name for name, p in stage.objective.named_parameters() if p.requires_grad}
    assert learning == {name for name, _ in stage.objective.named_parameters() if "add_ons" in name}
    train(stage, settings(tmp_path, steps=6))
    assert "residual" in stage.score()
    loaded = load_layers(PLAN_KIND, network.config, "abc", path).install(copied(base))
    batch = stage.batch(torch.Generator().manual_seed(0), 4)
    x = base.latent_sizes(ClipShape()).map(lambda size: torch.randn(4, *size))
    sigma, text = Streams(*[torch.ones(4, 1)] * 2), batch.flow.tokens.map(encoder)
    with torch.no_grad():
        plain, planned = (loaded(x, sigma, text, conditions=c) for c in ({}, {"plan": batch.condition}))
        expected, unplanned = network(x, sigma, text, conditions={"plan": batch.condition}), base(x, sigma, text)
    assert torch.equal(plain.video, unplanned.video)
    assert torch.equal(plain.audio, unplanned.audio)
    assert (planned.video - plain.video).abs().max() > 1e-3
    assert (planned.video - expected.video).abs().max() < 1e-2 * expected.video.abs().max()
    with pytest.raises(ValueError, match="trained on the base abc"):
        load_layers(PLAN_KIND, network.config, "other", path)
