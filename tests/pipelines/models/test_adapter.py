"""SAVA's masked adapter: gates with known values, masks that read what they say, identifiability, AUROC by hand."""

import math
from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.bench.adapter_masks import auroc, mask_quality, openness
from duet_av.pipelines.bench.identifiability import Question, Source, ask
from duet_av.pipelines.bench.readings import render, true_latents
from duet_av.pipelines.bench.suites import identifiability as suite
from duet_av.pipelines.core.conditions import A2V, V2A, Conditions
from duet_av.pipelines.core.sizes import ClipShape, segments
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.strategy import Branch
from duet_av.pipelines.models.adapter.condition import adapter_streams, condition
from duet_av.pipelines.models.adapter.gates import NOISE, OPEN, SOFT, noise_gate, soft_gate, support
from duet_av.pipelines.models.adapter.load import load_adapter
from duet_av.pipelines.models.adapter.net import AdapterConfig, MaskedAdapter, aligned, changes
from duet_av.pipelines.models.addons.adapter import AdapterLayers, AdapterLayersConfig
from duet_av.pipelines.models.pocket.add_ons import load_layers
from duet_av.pipelines.models.pocket.denoiser import PocketDenoiser
from duet_av.pipelines.models.pocket.load import load_audio_codec, load_network, load_text_encoder, load_video_codec
from duet_av.pipelines.models.pocket.lora import merge_lora
from duet_av.pipelines.training import judges
from duet_av.pipelines.training.ablations.adapter import report, run_arm
from duet_av.pipelines.training.adapter import (
    STILL,
    AdapterLayersStage,
    AdapterObjective,
    AdapterStage,
    Price,
    sufficiency,
)
from duet_av.pipelines.training.data import LatentCache
from duet_av.pipelines.training.flow import LEAST_SIGMA
from duet_av.pipelines.training.loop import Settings, train
from duet_av.pipelines.world import make_scene, make_scenes

MIX = {"muted": 0.5, "offscreen": 0.5}


@pytest.fixture(scope="module")
def codecs():
    return load_video_codec(), load_audio_codec()


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(5, 12, mix=MIX)


@pytest.fixture(scope="module")
def cache(codecs, scenes):
    frames, waveform = render(scenes, ClipShape())
    return LatentCache.of(LatentCache.encode(scenes, frames, waveform, codecs, load_text_encoder().tokenizer))


@pytest.fixture
def latents(cache):
    return Streams(cache.video.float(), cache.audio.float())


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MaskedAdapter(AdapterConfig(16, 24, dim=24, hidden=16, heads=2)).eval()


def test_the_noise_gate_keeps_unit_variance_and_the_information_it_says():
    z, noise = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0))
    for mask in (0.0, 0.3, 1.0):
        out = noise_gate(z, torch.full_like(z, mask), noise)
        assert out.std() == pytest.approx(1, abs=0.01)
        correlation = float(torch.corrcoef(torch.stack([z, out]))[0, 1])
        if mask < 1:
            # of two Gaussians: -1/2 log(1 - rho^2) nats
            assert -0.5 * math.log(1 - correlation**2) == pytest.approx(0.5 * math.log(1 / (1 - mask)), abs=0.01)
    assert torch.equal(soft_gate(z, torch.full_like(z, 0.3), noise), 0.3 * z)
    assert support(torch.tensor([0.2, 0.5, 0.7])).tolist() == [0, 0, 1]


def test_projections_are_orthonormal_and_of_unit_variance(net, latents):
    q = torch.linalg.qr(net.q["video"].weight)[0]
    assert torch.allclose(q.T @ q, torch.eye(24), atol=1e-5)
    with torch.no_grad():
        z = net.train().tokens(latents)
    assert [tuple(t.shape) for t in z.both()] == [(12, 128, 24), (12, 8, 24)]
    assert all(t.flatten(0, 1).std(0).mean() == pytest.approx(1, abs=0.15) for t in z.both())


def test_a_mask_reads_both_streams_or_its_own(net, latents):
    z = net.tokens(latents)
    torch.nn.init.normal_(net.mask["video"].token.weight)
    other = Streams(z.video, z.audio.flip(0))
    assert not torch.allclose(net.masks(z).video, net.masks(other).video, atol=1e-4)
    alone = MaskedAdapter(AdapterConfig(16, 24, dim=24, hidden=16, heads=2, sees="own")).eval()
    torch.nn.init.normal_(alone.mask["video"].token.weight)
    assert torch.equal(alone.masks(z).video, alone.masks(other).video)
    bare = MaskedAdapter(AdapterConfig(16, 24, gate=OPEN, dim=24, hidden=16, heads=2)).eval()
    assert all((mask == 1).all() for mask in bare.masks(z).both())
    with pytest.raises(ValueError, match="gate is 'hard'; it must be one of unmasked, soft, gate"):
        AdapterConfig(16, 24, gate="hard")
    with pytest.raises(ValueError, match="sees is 'all'"):
        AdapterConfig(16, 24, sees="all")


@torch.inference_mode()
def test_a_mask_reads_of_the_other_stream_what_changes(net, latents):
    z = net.tokens(latents)
    torch.nn.init.normal_(net.mask["audio"].token.weight)
    brighter = Streams(z.video + 3.0, z.audio)
    assert torch.allclose(net.masks(z).audio, net.masks(brighter).audio, atol=1e-4), "scenery tells it nothing"
    moved = Streams(z.video.unflatten(1, (8, 16)).roll(1, 1).flatten(1, 2), z.audio)
    assert not torch.allclose(net.masks(z).audio, net.masks(moved).audio, atol=1e-4)
    still = z.video.unflatten(1, (8, 16))[:, :1].expand(-1, 8, -1, -1).flatten(1, 2)
    assert torch.allclose(changes(still, 8), torch.zeros_like(still), atol=1e-5)
    assert aligned(z.audio, 8, 128)[:, :16].sub(z.audio[:, :1]).abs().max() == 0


@torch.inference_mode()
def test_a_condition_is_what_passes_and_says_where(net, latents):
    picture = Streams(latents.video, None)
    torch.nn.init.normal_(net.mask["video"].token.weight)
    hard = condition(net, picture, V2A)
    z, mask = net.read(picture, "video")
    assert torch.equal(hard.tokens.tokens, z * (mask > 0.5))
    assert torch.equal(hard.support, (mask > 0.5).float())
    assert hard.tokens.places.shape == (128, 3)
    assert hard.streams.video is None
    assert hard.streams.audio is hard.tokens
    assert torch.equal(condition(net, picture, V2A, kind=SOFT).tokens.tokens, z * mask)
    assert torch.equal(condition(net, picture, V2A, kind=OPEN, strength=0.5).tokens.tokens, 0.5 * z)
    assert not condition(net, picture, V2A, strength=0.0).tokens.shown.any()
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    passed = condition(net, picture, V2A, kind=SOFT, painted=left).tokens.tokens.unflatten(1, (8, 4, 4))
    assert passed[:, :, :, 2:].abs().max() == 0
    assert passed[:, :, :, :2].abs().max() > 0
    early = torch.zeros(32, 64, 64)
    early[:16] = 1
    heard = condition(net, Streams(None, latents.audio), A2V, kind=OPEN, painted=early)
    assert heard.tokens.tokens.shape == (12, 8, 24)
    assert condition(net, Streams(None, latents.audio), A2V, kind=SOFT, painted=early).mask[:, 4:].max() == 0
    over = net.over_frames(hard.mask, "video")
    assert over.shape == (12, 32, 64, 64)
    assert over[0, 0, 0, 0] == pytest.approx(float(hard.mask[0, 0].mean()))
    assert adapter_streams([hard, heard]).present() == [heard.tokens, hard.tokens]
    for wrong, told in (
        ({"kind": "hard"}, "kind is 'hard'"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"strength": 3.0}, "strength is 3.0"),
    ):
        with pytest.raises(ValueError, match=told):
            condition(net, picture, V2A, **wrong)
    with pytest.raises(ValueError, match=r"reads clips of \(8, 8, 8\) and 32 latent cells"):
        condition(net, Streams(latents.video[:, :, :4], None), V2A)
    with pytest.raises(ValueError, match="two adapters' tokens"):
        adapter_streams([hard, hard])


def noisy(like, seed=0):
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_an_adapters_tokens_join_the_words_and_close_the_route(net, latents):
    network = load_network()
    text = load_text_encoder().embed(["a red ball bounces"])
    x = Streams(noisy(latents.video[:1]), noisy(latents.audio[:1], 1))
    base = PocketDenoiser(network, Streams(text, text), Streams(text, text))
    both, apart = Branch(), Branch(a2v=False, v2a=False)
    plain, alone = base([both, apart], x, 0.7)
    given = condition(net, Streams(latents.video[:1], None), V2A, kind=OPEN)
    layers = AdapterLayers(AdapterLayersConfig(V2A, 24, 4, ""), network.config).eval()
    layers.install(network)
    read = PocketDenoiser(
        network, Streams(text, text), Streams(text, text), conditions=Conditions(adapter=given.streams)
    )
    heard, hidden = read([both, apart], x, 0.7)
    assert torch.allclose(hidden.audio, alone.audio, atol=1e-5), (
        "in a branch that sees nothing of the other stream it keeps silent"
    )
    assert torch.allclose(hidden.video, alone.video, atol=1e-5)
    assert not torch.allclose(heard.audio, alone.audio, atol=1e-3)
    other = Streams(noisy(x.video, 5), x.audio)
    again = read([both], other, 0.7)[0]
    assert torch.allclose(again.audio, heard.audio, atol=1e-5), "the direct route is closed"
    assert not torch.allclose(plain.audio, base([both], other, 0.7)[0].audio, atol=1e-3)
    nothing = condition(net, Streams(latents.video[:1], None), V2A, strength=0.0)
    muted = PocketDenoiser(
        network, Streams(text, text), Streams(text, text), conditions=Conditions(adapter=nothing.streams)
    )
    assert torch.allclose(muted([both], x, 0.7)[0].audio, alone.audio, atol=1e-5)


def test_lora_learns_on_the_conditioning_layers_alone_and_is_written_as_the_host_reads_it(cache, net, tmp_path):
    network, encoder = load_network(), load_text_encoder()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = AdapterLayersConfig(V2A, 24, 4, "")
    path = tmp_path / "pocket-adapter-v2a.safetensors"
    stage = AdapterLayersStage(
        cache,
        net,
        AdapterLayers(config, network.config),
        network,
        encoder,
        path,
        base="b",
        judge=lambda *_: {"score": 1.0},
    )
    learning = {name for name, p in stage.objective.named_parameters() if p.requires_grad}
    assert all("parametrizations" in name or "layers.encoder" in name or "adapters" in name for name in learning)
    assert sum("blocks.audio" in name for name in learning) == 2 * 3 * 4
    assert not any("blocks.video" in name for name in learning)
    record = train(stage, Settings(2, 6, 1e-2, tmp_path / "run", compiled=False))
    assert record["scores"] == {"score": 1.0}
    loaded = load_layers("pocket-adapter-v2a", network.config, "b", path)
    lora = loaded.lora
    assert loaded.layers.config == config
    assert len(lora) == 2 * 3 * 4
    assert all(name.startswith("diffusion_model.blocks.audio.") for name in lora)
    merged = merge_lora(load_network(), lora)
    changed = {name for name, value in merged.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {
        f"blocks.audio.{i}.text_attention.{n}.weight" for i in range(4) for n in ("to_q", "to_kv", "to_out")
    }
    with pytest.raises(ValueError, match="trained on the base b"):
        load_layers("pocket-adapter-v2a", network.config, "other", path)
    with pytest.raises(ValueError, match="The direction is 'both'"):
        AdapterLayersConfig("both", 24, 4, "")


def test_the_base_teaches_what_it_makes_of_the_other_stream(cache, net, tmp_path):
    network, encoder = load_network(), load_text_encoder()
    layers = AdapterLayers(AdapterLayersConfig(A2V, 24, 4, ""), network.config)
    path = tmp_path / "pocket-adapter-a2v.safetensors"
    stage = AdapterLayersStage(cache, net, layers, network, encoder, path, base="b", judge=lambda *_: {"score": 1.0})
    objective, batch = stage.objective.eval(), stage.batch(torch.Generator().manual_seed(0), 6)
    flow = batch.flow
    assert flow.sigma.audio.abs().max() == 0, "the given stream is clean"
    taught = objective.teacher.clean(flow).video
    other = replace(flow, x0=Streams(flow.x0.video, torch.roll(flow.x0.audio, 1, 0)))
    assert not torch.allclose(objective.teacher.clean(other).video, taught, atol=1e-2), (
        "the teacher hears the given sound"
    )
    own = flow.of("video")
    assert own.x0.audio is own.tokens.audio is None
    made = objective.flow.clean(own, {A2V: batch.condition}).video
    wanted = (made - taught).square().mean((1, 3, 4)) / flow.sigma.video.clamp_min(LEAST_SIGMA).square()
    assert torch.allclose(objective(batch)["loss"], wanted.mean(), rtol=1e-4)
    objective(batch)["loss"].backward()
    assert all(p.grad is None for p in objective.teacher.parameters())
    assert sum(p.grad.abs().sum() for n, p in objective.named_parameters() if n.endswith("weight.0.up")) > 0
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            if name.endswith("weight.0.up"):
                parameter.fill_(1.0)
        assert not torch.allclose(objective.flow.clean(own, {A2V: batch.condition}).video, made, atol=1e-2)
        assert torch.equal(objective.teacher.clean(flow).video, taught), "LoRA is not in the teacher"


@torch.inference_mode()
def test_an_absent_stream_is_predicted(net, latents):
    whole = net.completed(Streams(latents.video, None))
    assert torch.equal(whole.video, latents.video)
    assert whole.audio.shape == latents.audio.shape
    back = net.completed(Streams(None, latents.audio))
    assert back.video.shape == latents.video.shape
    z, mask = net.read(Streams(latents.video, None), "video")
    assert z.shape == mask.shape == (12, 128, 24)


def test_the_loss_asks_its_price_for_what_is_open(cache, codecs, net, tmp_path):
    stage = AdapterStage(
        cache, net.train(), codecs, tmp_path / "a.safetensors", price=Price(4.0, 1.0), steps=4, judge=dict
    )
    batch = stage.batch(torch.Generator().manual_seed(0), 6)
    first, _, later = (stage.objective(batch) for _ in range(3))
    assert stage.objective.step == 3
    assert stage.objective.rise == (2, 3)
    assert float(later["loss"].detach() - first["loss"].detach()) > 1.0, (
        "masks cost something when their price has risen"
    )
    later["loss"].backward()
    assert all(p.grad is None for codec in codecs for p in codec.parameters())
    assert net.mask["audio"].token.bias.grad.abs().sum() > 0
    assert [path.name for path in stage.save({})] == ["a.safetensors"]


def test_sufficiency_is_one_where_everything_is_open(codecs, latents):
    bare = MaskedAdapter(AdapterConfig(16, 24, gate=OPEN, dim=24, hidden=16, heads=2)).eval()
    found = sufficiency(bare, codecs, latents)
    assert found["sufficiency_video"] == found["sufficiency_audio"] == 1
    assert found["support_video"] == 1
    assert AdapterObjective(bare, codecs, Price(), rise=(0, 1)).error("audio", latents.audio, latents) == 0


@torch.inference_mode()
def test_every_clips_changes_count_alike(net, codecs, latents):
    objective = AdapterObjective(net, codecs, Price(), rise=(0, 1))
    still = latents.video.mean(2, keepdim=True)
    moved = latents.video[1:2]
    clips = torch.cat([moved, still[1:2] + 0.5 * (moved - still[1:2])])
    own = torch.tensor([1.0, 0.25])  # a clip, and the same with half its motion
    nothing = float(objective.error("video", still[1:2].expand_as(clips), Streams(clips, None)))
    assert nothing == pytest.approx(float((own / (own + STILL * own.mean())).mean()), rel=1e-3)


def test_the_area_under_the_curve_by_hand():
    assert auroc([3.0, 4.0], [1.0, 2.0]) == 1
    assert auroc([1.0], [1.0]) == 0.5
    assert auroc([1.0, 4.0], [2.0, 3.0]) == 0.5
    with pytest.raises(ValueError, match="0 positives and 1 negatives"):
        auroc([], [1.0])


@torch.inference_mode()
def test_longer_clips_are_read_in_segments(codecs, scenes, latents, cache, monkeypatch):
    torch.manual_seed(0)
    half = MaskedAdapter(AdapterConfig(16, 24, dim=24, hidden=16, heads=2, seconds=1.0)).eval()
    pieces = segments(latents, half.frames)
    assert torch.equal(pieces.video[1], latents.video[0, :, 4:])
    assert torch.equal(pieces.audio[2], latents.audio[1, :, :16])
    short = cache.cut(half.frames)
    assert torch.equal(short.video.float(), pieces.video)
    assert torch.equal(short.audio.float(), pieces.audio)
    assert torch.equal(short.tokens[2:4], cache.tokens[1].expand(2, -1, -1))
    whole = MaskedAdapter(AdapterConfig(16, 24, dim=24, hidden=16, heads=2)).eval()

    def loudness(self, z):
        """A mask that is the token's own size, which segments do not change."""
        return z.map(lambda tokens: tokens.norm(dim=-1, keepdim=True).expand_as(tokens))

    whole.q.load_state_dict(half.q.state_dict())
    monkeypatch.setattr(MaskedAdapter, "masks", loudness)
    assert mask_quality(half, scenes, latents) == pytest.approx(mask_quality(whole, scenes, latents), rel=1e-4)
    with pytest.raises(ValueError, match="Clips of 8 latent frames cannot be split into segments of 3"):
        segments(latents, 3)


@torch.inference_mode()
def test_masks_are_held_against_the_truth(net, scenes, latents):
    found = mask_quality(net, scenes, latents)
    assert {name for name in found if name.startswith("auroc")} == {"auroc_video", "auroc_still", "auroc_audio"}
    masks = Streams(torch.zeros(1, 128, 24), torch.zeros(1, 8, 24))
    masks.video.view(1, 8, 4, 4, 24)[0, 3, 2, 1] = 1
    masks.audio[0, 3] = 1
    video, audio = openness(net, masks).both()
    assert video.nonzero().tolist() == [[0, 3, 1]]
    assert audio.nonzero().tolist() == [[0, 3]]

    class Knowing(MaskedAdapter):
        def masks(self, z):
            return truth

    scene = make_scene(9, 2, stratum="muted")
    heard = [s for s in scene.subjects if s.heard and s.seen]
    truth = Streams(torch.zeros(1, 8, 4, 4, 24), torch.zeros(1, 8, 24))
    for s in heard:
        for t in s.times:
            at = min(3, int(s.x * 4))
            truth.video[0, int(t * 4), :, max(0, at - 1) : at + 2] = 1
    assert heard, "the scene has a source that sounds"
    truth = Streams(truth.video.flatten(1, 3), truth.audio)
    knowing = Knowing(AdapterConfig(16, 24, dim=24, hidden=16, heads=2)).eval()
    off = make_scene(9, 2, stratum="offscreen")
    frames, waveform = render([scene, off], ClipShape())
    both = Streams(load_video_codec().encode(frames), load_audio_codec().encode(waveform))
    truth = truth.map(lambda m: torch.cat([m, m]))
    assert mask_quality(knowing, [scene, off], both)["auroc_still"] > 0.6


def test_an_arm_of_segments_learns_from_longer_renders_and_is_not_trained_again(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "MASKED_CLIPS", 8)
    few = replace(cache, video=cache.video[:4], audio=cache.audio[:4], tokens=cache.tokens[:4])
    name = "segments of 1 s"
    found = run_arm(name, cache=few, run=tmp_path, steps=1, compiled=False)
    assert (tmp_path / "longer-2.safetensors").is_file()
    assert load_adapter(tmp_path / name / "pocket-adapter.safetensors").config.seconds == 1.0
    assert {"auroc_video", "auroc_audio", "open_audio"} <= set(found["masks"])
    assert run_arm(name, cache=few, run=tmp_path, steps=1, compiled=False) == found
    scores = [{"stratum": "single", "sync_f1": 0.5}, {"stratum": "silent", "silent_false_alarm": 1.0}]
    table = report({"gate": found | {"scores": scores}, name: found}, steps=1, cache=few)
    assert table.rows["gate"]["all"]["sync_f1"].mean == 0.5
    assert list(table.rows[name]) == ["masks"]


def test_the_shipped_masks_find_what_is_shared(codecs):
    scenes = make_scenes(31, 64, mix=MIX, split="test")
    found = mask_quality(load_adapter(), scenes, true_latents(codecs, scenes, ClipShape()))
    assert min(found["auroc_video"], found["auroc_still"], found["auroc_audio"]) > 0.85, found


@pytest.mark.slow
def test_the_gate_finds_what_is_shared_and_the_soft_mask_does_not():
    prices, seeds = (0.3, 2.0), (0, 1)
    gate = ask(Question(NOISE, contexts=4), seeds=seeds, prices=prices, steps=1200)
    assert all(a.support_f1 > 0.95 and a.sufficiency < 1.02 for a in gate if a.price < 1)
    assert all(a.support_f1 < 0.1 for a in gate if a.price > 1), "a price above what is explained closes everything"
    soft = ask(Question(SOFT, contexts=4), seeds=seeds, prices=prices, steps=1200)
    assert all(a.support_f1 < 0.5 for a in soft), "a mask that is only a factor shrinks for nothing"


def test_what_is_shared_is_shared_and_the_rest_is_not():
    source = Source(Question(NOISE, contexts=3), (0,))
    picture, sound, context = source.draw(20_000, torch.Generator().manual_seed(0))
    heard = sound @ source.sound_turn.mT
    for k in range(3):
        here = context[0] == k
        correlation = [
            float(torch.corrcoef(torch.stack([picture[0, here, j], heard[0, here, j]]))[0, 1]) for j in range(14)
        ]
        assert [c > 0.9 for c in correlation[:8]] == source.shared[0, k].tolist()
        assert all(abs(c) < 0.05 for c in correlation[8:])


def test_the_suite_has_a_row_for_each_question(monkeypatch):
    from duet_av.pipelines.bench.runner import Run

    monkeypatch.setattr(suite, "QUESTIONS", {"gate, rotation known": Question(NOISE, contexts=2)})
    monkeypatch.setattr(suite, "ask", lambda question, seeds: ask(question, seeds=seeds, prices=suite.PRICES, steps=3))
    table = suite.measure(Run(20, 0, 1))
    assert list(table.rows["gate, rotation known"]) == [f"{p:g}" for p in suite.PRICES]
    assert table.to_json()["weights"] == {}
    assert suite.draw(table).axes[0].get_ylabel() == "support F1"
