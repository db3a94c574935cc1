"""SAVA's masked adapter: gates with known values, masks that read what they say, identifiability, AUROC by hand."""

import math

import pytest
import torch

from duet_av.pipelines.metrics.adapter import auroc, mask_quality, openness
from duet_av.pipelines.metrics.identifiability import Question, Source, ask
from duet_av.pipelines.metrics.reading import render
from duet_av.pipelines.metrics.suites import identifiability as suite
from duet_av.pipelines.models.adapter.gates import NOISE, OPEN, SOFT, noise_gate, soft_gate, support
from duet_av.pipelines.models.adapter.net import AdapterConfig, MaskedAdapter
from duet_av.pipelines.models.pocket.load import load_audio_codec, load_text_encoder, load_video_codec
from duet_av.pipelines.shapes import ClipShape
from duet_av.pipelines.streams import Streams
from duet_av.pipelines.training.adapter import AdapterObjective, AdapterStage, Price, sufficiency
from duet_av.pipelines.training.data import LatentCache
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
def test_an_absent_stream_is_predicted(net, latents):
    whole = net.completed(Streams(latents.video, None))
    assert torch.equal(whole.video, latents.video)
    assert whole.audio.shape == latents.audio.shape
    back = net.completed(Streams(None, latents.audio))
    assert back.video.shape == latents.video.shape
    passed, mask = net.shared(Streams(latents.video, None), "video")
    assert passed.shape == mask.shape == (12, 128, 24)
    assert ((passed == 0) | (mask > 0.5)).all()


def test_the_loss_asks_its_price_for_what_is_open(cache, codecs, net, tmp_path):
    stage = AdapterStage(
        cache, net.train(), codecs, tmp_path / "a.safetensors", price=Price(4.0, 1.0), steps=4, judge=dict
    )
    batch = stage.batch(torch.Generator().manual_seed(0), 6)
    first, later = stage.objective(batch), stage.objective(batch)
    stage.objective(batch)
    assert stage.objective.step == 3
    assert float(later["loss"].detach() - first["loss"].detach()) > 1.0, "the price rises over the first half"
    later["loss"].backward()
    assert all(p.grad is None for codec in codecs for p in codec.parameters())
    assert net.mask["audio"].token.bias.grad.abs().sum() > 0
    assert [path.name for path in stage.save({})] == ["a.safetensors"]


def test_sufficiency_is_one_where_everything_is_open(codecs, latents):
    bare = MaskedAdapter(AdapterConfig(16, 24, gate=OPEN, dim=24, hidden=16, heads=2)).eval()
    found = sufficiency(bare, codecs, latents)
    assert found["sufficiency_video"] == found["sufficiency_audio"] == 1
    assert found["support_video"] == 1
    assert AdapterObjective(bare, codecs, Price(), warm=1).error("audio", latents.audio, latents) == 0


def test_the_area_under_the_curve_by_hand():
    assert auroc([3.0, 4.0], [1.0, 2.0]) == 1
    assert auroc([1.0], [1.0]) == 0.5
    assert auroc([1.0, 4.0], [2.0, 3.0]) == 0.5
    with pytest.raises(ValueError, match="0 positives and 1 negatives"):
        auroc([], [1.0])


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
    from duet_av.pipelines.metrics.bench import Run

    monkeypatch.setattr(suite, "QUESTIONS", {"gate, rotation known": Question(NOISE, contexts=2)})
    monkeypatch.setattr(suite, "ask", lambda question, seeds: ask(question, seeds=seeds, prices=suite.PRICES, steps=3))
    table = suite.measure(Run(20, 0, 1))
    assert list(table.rows["gate, rotation known"]) == [f"{p:g}" for p in suite.PRICES]
    assert table.to_json()["weights"] == {}
    assert suite.draw(table).axes[0].get_ylabel() == "support F1"
