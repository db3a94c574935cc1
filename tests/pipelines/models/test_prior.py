"""The pocket prior: clip encoders, asynchronous audio, losses with known values, and prior layers."""

from dataclasses import replace
from random import Random

import pytest
import torch

from duet_av.pipelines.bench import runner as bench
from duet_av.pipelines.bench.prior_knowledge import (
    NEGATIVES,
    knowledge,
    layout_events,
    layout_of,
    layout_truth,
    linear_probe,
    mismatched_audio,
    spread,
)
from duet_av.pipelines.bench.prompts import DEVELOPMENT, bench_prompts
from duet_av.pipelines.bench.readings import Probes, reconstruct
from duet_av.pipelines.core.conditions import BatchPrior, Conditions, Prior
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.strategy import PLAIN, Branch, PerStreamCFG
from duet_av.pipelines.models.addons.prior import PriorLayers, PriorLayersConfig
from duet_av.pipelines.models.pocket.denoiser import PocketDenoiser
from duet_av.pipelines.models.pocket.load import PocketModel, load_audio_codec, load_text_encoder
from duet_av.pipelines.models.prior.clip import spatial_places
from duet_av.pipelines.models.prior.net import PriorNet, PriorNetConfig
from duet_av.pipelines.training import prior
from duet_av.pipelines.training.data import CacheSpec, ClipEncoder, load_codecs
from duet_av.pipelines.training.loop import update_ema
from duet_av.pipelines.training.prior import FREE_NATS, PriorCache, PriorStage, gaussian_kl, shift_in_time
from duet_av.pipelines.world import asynchronous, make_scene, make_scenes, moved, vocabulary

CLIPS = 8


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    spec = CacheSpec(tmp_path_factory.mktemp("prior") / "clips.safetensors", seed=5, count=CLIPS)
    return PriorCache.build(spec, ClipEncoder(load_codecs(), load_text_encoder().tokenizer))


@pytest.fixture
def net():
    config = PriorNetConfig(tuple(vocabulary()), 16, 24, spatial=4, temporal=4, channels=6, hidden=32, heads=2)
    net = PriorNet(config)
    net.init_weights()
    return net.eval()


def test_asynchronous_scenes_keep_the_video_and_change_the_audio():
    scenes = [s for s in make_scenes(3, 60) if any(x.heard and x.times for x in s.subjects)]
    changed = 0
    for scene in scenes:
        other = asynchronous(scene, Random(scene.index))
        assert [s.kind for s in other.subjects] == [s.kind for s in scene.subjects]
        assert all(0 < t < scene.seconds for s in other.subjects for t in s.times)
        changed += other.subjects != scene.subjects
    assert changed == len(scenes)
    silent = make_scene(0, 0, stratum="single")
    silent = replace(silent, subjects=tuple(replace(s, heard=False) for s in silent.subjects))
    assert asynchronous(silent, Random(0)) == silent


def test_an_event_is_moved_by_the_configured_distance():
    for scene in make_scenes(4, 40, mix={"single": 1.0}):
        before, after = scene.subjects[0].times, moved(scene, Random(scene.index)).subjects[0].times
        (gone,), (come,) = set(before) - set(after), set(after) - set(before)
        assert 0.3 <= abs(gone - come) <= 0.8
        assert len(before) == len(after)


def test_the_kl_divergence_of_gaussians_matches_known_values():
    zero, one = torch.zeros(3), torch.ones(3)
    assert torch.equal(gaussian_kl((zero, zero), (zero, zero)), zero)
    assert torch.allclose(gaussian_kl((one, zero), (zero, zero)), 0.5 * one)
    wide = 2 * torch.log(torch.tensor([3.0] * 3))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(one, one), torch.distributions.Normal(zero, 3 * one)
    )
    assert torch.allclose(gaussian_kl((one, zero), (zero, wide)), expected)


def test_a_layout_contains_the_place_and_time_of_audible_events():
    scene = make_scene(0, 3, stratum="single")
    (subject,) = scene.subjects
    layout = layout_of(scene)
    assert int(layout.sum()) == len({int(t * 16) for t in subject.times})
    assert layout_truth(scene) == {subject.place: subject.times}
    found = layout_events(layout)
    assert set(found) == {subject.place}
    assert all(min(abs(t - at) for at in subject.times) <= 1 / 16 for t in found[subject.place])


def test_the_cache_contains_asynchronous_audio(cache):
    assert cache.mismatched.shape == (CLIPS, NEGATIVES, *cache.latents.audio.shape[1:])
    again = mismatched_audio(cache.scenes, load_audio_codec()).half()
    assert torch.equal(cache.mismatched, again)


def test_the_loss_is_contrast_plus_layout_plus_kl_beyond_the_free_nats(cache, net, tmp_path, monkeypatch):
    stage = PriorStage(cache, net.train(), tmp_path / "p.safetensors", judge=lambda _: {"score": 0.0})
    batch = stage.batch(torch.Generator().manual_seed(0), 6)
    losses = stage.objective(batch)
    assert 0 < losses["contrast"] < 5
    kl_term = float(losses["loss"].detach() - losses["contrast"] - losses["layout"])
    assert kl_term == pytest.approx(max(float(losses["kl"]), FREE_NATS), rel=1e-4)
    estimator = net.estimator.out_proj.weight
    monkeypatch.setattr(prior, "FREE_NATS", 1e9)
    stage.objective(batch)["loss"].backward()
    assert estimator.grad is None or not estimator.grad.any(), "within the free nats there is no gradient"
    assert net.encoder.out.weight.grad.any(), "the layout loss trains the tokens"
    net.zero_grad()
    monkeypatch.setattr(prior, "FREE_NATS", 0.0)
    stage.objective(batch)["loss"].backward()
    assert estimator.grad.any()


def test_a_linear_probe_finds_only_information_in_the_tokens():
    generator = torch.Generator().manual_seed(0)
    layouts = (torch.rand(600, 3, 4, generator=generator) < 0.3).float()
    tokens = torch.cat([layouts.flatten(1), torch.randn(600, 12, generator=generator)], dim=1).unflatten(1, (4, 6))
    read = linear_probe(tokens[:500], layouts[:500], others=tokens[500:])
    assert ((read > 0.5) == (layouts[500:] > 0.5)).float().mean() > 0.99
    from_noise = linear_probe(torch.randn(500, 4, 6, generator=generator), layouts[:500], others=tokens[500:])
    assert ((from_noise > 0.5) == (layouts[500:] > 0.5)).float().mean() < 0.75


def test_spatial_tokens_form_rows_and_columns():
    assert spatial_places(32).shape == (32, 2)
    assert len({float(x) for x in spatial_places(8)[:, 1]}) == 4
    with pytest.raises(ValueError, match="spatial is 12"):
        spatial_places(12)


def test_rolling_a_clip_keeps_the_streams_synchronous():
    clips = Streams(torch.arange(8.0).view(1, 1, 8, 1, 1), torch.arange(32.0).view(1, 1, 32))
    video, audio = shift_in_time(clips, 3).both()
    assert video.flatten()[:2].tolist() == [3, 4]
    assert audio.flatten()[:2].tolist() == [12, 13]


def test_ema_weights_keep_infinite_masks_without_nan(net):
    averaged = {name: value.clone() for name, value in net.state_dict().items()}
    update_ema(averaged, net, step=3, limit=0.9)
    assert all(not value.isnan().any() for value in averaged.values())


def test_knowledge_scores_are_reported_for_each_clip(cache, net):
    latents = Streams(cache.latents.video.float(), cache.latents.audio.float())
    rows = knowledge(net, cache.scenes, latents, cache.mismatched.float())
    assert len(rows) == CLIPS
    assert all(set(row) == {"rank_1", "text_rank_1", "layout_f1"} for row in rows)
    found = spread(net, make_scene(0, 3, stratum="single"))
    assert found["world_s"] > 0


def test_equal_seeds_give_equal_draws_and_temperature_zero_gives_the_mean(net):
    text = ["a small red bell rings slowly on the left at night"]
    a, b, other = (net.sample(text, seed=s) for s in (1, 1, 2))
    assert torch.equal(a.all_tokens, b.all_tokens)
    assert not torch.equal(a.all_tokens, other.all_tokens)
    mean = net.sample(text, seed=1, temperature=0.0)
    assert torch.equal(mean.all_tokens, mean.mean)
    assert isinstance(mean, Prior)


@torch.inference_mode()
def test_prior_layers_change_only_samples_that_see_a_prior(network, inputs):
    bare = network(*inputs)
    layers = PriorLayers(PriorLayersConfig(4, 4, 5, 32), network.config)
    layers.init_weights()
    layers.install(network)
    prior = BatchPrior(torch.randn(2, 4, 5), torch.randn(2, 4, 5), torch.tensor([True, False]))

    def same(a, b):
        return [[bool(torch.equal(x[i], y[i])) for i in range(2)] for x, y in zip(a, b, strict=True)]

    assert same(network(*inputs), bare) == [[True, True]] * 2
    assert same(network(*inputs, conditions={"prior": prior}), bare) == [[True, True]] * 2  # W_O is zero-initialised
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert same(network(*inputs), bare) == [[True, True]] * 2
    assert same(network(*inputs, conditions={"prior": prior}), bare) == [[False, True]] * 2
    with pytest.raises(ValueError, match=r"4 \+ 2 tokens of 5 channels; the pocket model reads 4 \+ 4 of 5"):
        layers.encoder.check(prior.spatial, prior.temporal[:, :2])


def test_a_prior_is_visible_in_every_branch(network, inputs):
    x, _, text = inputs
    layers = PriorLayers(PriorLayersConfig(4, 4, 5, 32), network.config)
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    layers.eval().install(network)
    prior = BatchPrior(torch.randn(2, 4, 5), torch.randn(2, 4, 5))
    branches = [PLAIN, Branch(text=False)]
    bare = PocketDenoiser(network, text, text)(branches, x, 0.5)
    with_prior = PocketDenoiser(network, text, text, Conditions(prior=prior))(branches, x, 0.5)
    for a, b in zip(bare, with_prior, strict=True):
        assert all(not torch.allclose(p, q, atol=1e-5) for p, q in zip(a, b, strict=True))


def test_chance_is_measured_without_a_prior(monkeypatch):
    had_prior = []

    def record(model, request, *, batch):
        had_prior.append(request.prior is not None)
        return reconstruct(model, [p.scene for p in prompts], ClipShape())

    monkeypatch.setattr(bench, "generate", record)
    prompts = bench_prompts(1, DEVELOPMENT, strata=("single",))
    draw = BatchPrior(torch.zeros(2, 3, 5), torch.zeros(2, 4, 5))
    variant = bench.Variant("a", PerStreamCFG(2.0, 2.0), prior=lambda _: draw)
    bench.score_chunk(PocketModel.load(), Probes.load(), prompts, variant)
    assert had_prior == [True, False]
