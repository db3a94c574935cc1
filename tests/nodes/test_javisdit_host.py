"""JavisDiT inside a real ComfyUI, from tiny files in the official layouts."""

from types import SimpleNamespace

import pytest
import torch

from duet_av.pipelines.core.conditions import PriorTokens
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.sampling import euler, flow_sigmas, initial_noise
from duet_av.pipelines.guidance.strategy import UCG, Branch, PerStreamCFG
from duet_av.pipelines.models.javisdit.load import network_sizes
from duet_av.pipelines.models.javisdit.schedule import shift_ratio
from duet_av.pipelines.models.javisdit.v01 import JavisDiT01
from duet_av.pipelines.models.javisdit.v10 import JavisDiT10

FIRST, SECOND = "JavisDiT-v0.1-jav-240p4s/", "JavisDiT-v1.0-jav/"
PROMPT = "a ball bounces on the left and a bell rings"
HEIGHT, WIDTH = 48, 70  # the latent rounds this width


@pytest.fixture(autouse=True)
def _no_gradients(comfy):
    with torch.inference_mode():
        yield


def prepared(run, javis_folder, model):
    network, clip, frames, sound, _ = run("DuetLoadAV", model, "auto", "auto", "auto")
    latent = run("DuetEmptyLatent", network, WIDTH, HEIGHT, 0.7, 0, 1)[0]
    positive, negative, notice = run("DuetEncodePrompt", clip, PROMPT, "", "" if model == FIRST else "noise")
    return SimpleNamespace(
        model=network, clip=clip, video=frames, audio=sound, latent=latent, positive=positive,
        negative=negative, notice=notice, folder=javis_folder,
    )  # fmt: skip


@pytest.fixture
def first(run, javis_folder):
    return prepared(run, javis_folder, FIRST)


@pytest.fixture
def second(run, javis_folder):
    return prepared(run, javis_folder, SECOND)


@pytest.fixture
def prior(run, first):
    net = run("DuetLoadPrior", first.model, "auto", "auto")[1]
    return lambda seed=42, temperature=1.0: run("DuetPriorSampler", net, PROMPT, seed, temperature)[0]


def sampled(run, parts, strategy=None, *, latent=None, steps=3, seed=5):
    guider = run("DuetGuider", parts.model, parts.positive, strategy or PerStreamCFG(5.0, 5.0), parts.negative)[0]
    return Streams(*run("DuetSampler", guider, latent or parts.latent, seed, steps)[0]["samples"].unbind())


def with_prior(run, parts, value, keys="as trained"):
    positive, negative = run("DuetApplyConditions", parts.positive, parts.negative, keys, prior=value)
    return SimpleNamespace(**{**vars(parts), "positive": positive, "negative": negative})


def difference(a, b):
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True))


def own(name, folder, make):
    """The network outside the host, from the same files."""
    from duet_av.pipelines.models.javisdit.files import read_checkpoint

    tensors = read_checkpoint(folder)
    network = make(network_sizes(name, tensors, source=folder))
    network.load_state_dict(tensors)
    return network.eval()


def steps_of(sizes, guided, *, frames, scale=1.0, steps=3, seed=5):
    """Euler over the official schedule, with the classifier-free guidance of the reference code."""
    sigmas = flow_sigmas(steps, shift=shift_ratio(HEIGHT, WIDTH, frames))

    def denoise(z, sigma):
        return z.map(lambda a, v: a + v * sigma, guided(z, torch.tensor([1000 * sigma])))

    return euler(denoise, initial_noise(Streams(*sizes), [seed]), sigmas)


def test_v01_samples_like_the_reference(run, first, prior):
    network = own("JavisDiT v0.1", first.folder / "diffusion_models" / FIRST, JavisDiT01)
    drawn, null = prior(), network.null_prior()
    states = first.positive[0][0]
    text = torch.cat([states, network.y_embedder.y_embedding[None, : states.shape[1]]])
    pooled = PriorTokens(
        *(torch.cat(pair) for pair in ((drawn.tokens.spatial, null.spatial), (drawn.tokens.temporal, null.temporal)))
    )
    mask = torch.ones(2, states.shape[1], dtype=torch.bool)

    def velocity(z, t):
        both = network(
            z.map(lambda a: torch.cat([a, a])),
            t.expand(2),
            text,
            mask,
            pooled,
            size=(float(HEIGHT), float(WIDTH)),
            fps=24.0,
        )
        return both.map(lambda v: v[1:] + 5 * (v[:1] - v[1:]))

    expected = steps_of(((4, 5, 6, 8), (8, 24, 16)), velocity, frames=17)
    assert difference(sampled(run, with_prior(run, first, drawn)), expected) < 1e-4


def test_v10_samples_like_the_reference_and_decodes_with_wan(run, second):
    from comfy.latent_formats import Wan21

    network = own("JavisDiT v1.0", second.folder / "diffusion_models" / SECOND, JavisDiT10)
    text = torch.cat([second.positive[0][0], second.negative[0][0]])
    mask = torch.ones(text.shape[:2], dtype=torch.bool)

    def velocity(z, t):
        both = network(z.map(lambda a: torch.cat([a, a])), t.expand(2), text, mask)
        return both.map(lambda v: v[1:] + 5 * (v[:1] - v[1:]))

    video, audio = steps_of(((16, 5, 6, 10), (8, 32, 16)), velocity, frames=17).both()
    assert difference(sampled(run, second), (Wan21().process_out(video), audio)) < 1e-3


def test_the_schedule_is_the_official_one_for_the_requested_clip(run, first, second):
    large = run("DuetEmptyLatent", first.model, 426, 240, 4.0, 0, 1)[0]
    assert [tuple(z.shape) for z in large["samples"].unbind()] == [(1, 4, 30, 30, 53), (1, 8, 112, 16)]
    assert torch.allclose(run("DuetSchedule", first.model, large, 30)[0], flow_sigmas(30, shift=3.421875))
    long = run("DuetEmptyLatent", second.model, 854, 480, 5.0, 0, 1)[0]
    assert [tuple(z.shape) for z in long["samples"].unbind()] == [(1, 16, 21, 60, 108), (1, 8, 128, 16)]
    assert torch.allclose(run("DuetSchedule", second.model, long, 50)[0], flow_sigmas(50, shift=5.59375))
    stranger = {"samples": large["samples"]}
    assert torch.allclose(
        run("DuetSchedule", first.model, stranger, 30)[0], flow_sigmas(30, shift=shift_ratio(240, 424, 102))
    )


def test_batching_of_branches_does_not_change_the_result(comfy, run, first, prior, monkeypatch):
    parts = with_prior(run, first, prior())
    together = sampled(run, parts)
    monkeypatch.setattr(comfy.samplers, "calc_cond_batch", separately(comfy.samplers.calc_cond_batch))
    assert difference(sampled(run, parts), together) < 1e-4


def separately(batch):
    return lambda model, conds, *rest: [batch(model, [cond], *rest)[0] for cond in conds]


def test_prior_seed_temperature_and_keys_change_the_clip(run, first, prior):
    clips = [sampled(run, first)]
    clips += [sampled(run, with_prior(run, first, p)) for p in (prior(1), prior(2), prior(1, 0.0))]
    clips.append(sampled(run, with_prior(run, first, prior(1), "per sample")))
    pairs = [(a, b) for i, a in enumerate(clips) for b in clips[i + 1 :]]
    assert min(difference(a, b) for a, b in pairs) > 1e-4
    assert difference(clips[1], sampled(run, with_prior(run, first, prior(1)))) == 0


def test_prompt_and_null_match_the_training_of_v01(run, first):
    words = first.clip.tokenize(PROMPT)["t5xxl"][0]
    plain = getattr(first.clip.tokenizer, first.clip.tokenizer.clip).tokenize_with_weights(
        "a ball bounces on the left and a bell rings aesthetic score: 6.5."
    )[0]
    assert words == plain, "no padding, and the score behind the text"
    assert first.positive[0][0].shape == first.negative[0][0].shape
    assert not first.negative[0][0].any(), "zeros stand for the learnt null of the same length"
    assert len(first.clip.tokenize("ball " * 400)["t5xxl"][0]) == 300
    weighted = {weight for _, weight in first.clip.tokenize("a (red:1.3) ball")["t5xxl"][0]}
    assert weighted == {1.0, 1.3}


def test_a_prompt_from_stock_nodes_that_is_too_long_is_rejected(run, first):
    first.positive = [[torch.randn(1, 301, 64), {}]]
    with pytest.raises(ValueError, match=r"301 tokens; JavisDiT v0\.1 accepts at most 300"):
        sampled(run, first)


def test_an_empty_negative_prompt_gives_a_warning_on_v10(run, second, caplog):
    notice = run("DuetEncodePrompt", second.clip, PROMPT, "", "")[2]
    assert "configs/javisdit-v1-0/inference/sample.py" in notice
    assert notice in caplog.text
    assert second.notice == ""
    assert second.positive[0][0].shape[1] == 512
    assert not second.positive[0][0][0, -1].any(), "padded states are zero"


def test_the_audio_prompt_is_appended_to_the_single_prompt_of_javisdit(run, second):
    joined = run("DuetEncodePrompt", second.clip, "a ball bounces", "a bell rings", "noise")[0]
    assert torch.equal(
        joined[0][0], run("DuetEncodePrompt", second.clip, "a ball bounces a bell rings", "", "noise")[0][0][0]
    )


@pytest.mark.parametrize("kept", ["audio", "first frame"])
def test_kept_content_is_unchanged_and_affects_the_rest_on_v01(comfy, run, first, kept):
    video, audio = sampled(run, first)
    masks = Streams(torch.ones(1, 1, 5, 6, 8), torch.ones(1, 1, 24, 16))
    if kept == "audio":
        masks.audio.zero_()
    else:
        masks.video[:, :, 0] = 0
    found = []
    for given in ((video, audio), (video.flip(-1), audio.flip(-2))):
        latent = {**first.latent, "samples": comfy.nested(given), "noise_mask": comfy.nested(list(masks))}
        after = sampled(run, first, latent=latent, seed=8)
        place = (after.audio, given[1]) if kept == "audio" else (after.video[:, :, 0], given[0][:, :, 0])
        assert difference([place[0]], [place[1]]) < 1e-5
        found.append(after.video[:, :, 1:])
    assert difference([found[0]], [found[1]]) > 1e-4


@pytest.mark.parametrize("version", ["first", "second"])
def test_either_direction_can_be_closed_and_used_for_guidance(comfy, run, request, version):
    from duet_av.nodes.host.branches import evaluate
    from duet_av.nodes.host.guider import StrategyGuider

    parts = request.getfixturevalue(version)
    plain = sampled(run, parts)
    masked = UCG("U5", a2v=3.0, v2a=3.0, masked=True)
    assert difference(sampled(run, parts, masked), plain) > 1e-4
    _, note = run("DuetGuider", parts.model, parts.positive, masked, parts.negative)
    assert "untrained null" in note
    with pytest.raises(ValueError, match="learnt context tokens, and this model has none"):
        run("DuetGuider", parts.model, parts.positive, UCG("U5", a2v=3.0, v2a=3.0), parts.negative)

    closed = Branch(a2v=False, v2a=False, masked=True)

    class Closed(StrategyGuider):
        def predict_noise(self, x, timestep, model_options=None, seed=None):
            conds = {True: self.conds["positive"], False: self.conds["negative"]}
            return evaluate(self.inner_model, [closed], conds, x, timestep, model_options)[0]

    guider = Closed(parts.model, parts.positive, parts.negative, PerStreamCFG(1.0, 1.0))
    videos = []
    for change in (0.0, 1.0):
        picture, sound = (torch.full_like(z, 0.1) for z in parts.latent["samples"].unbind())
        latent = {**parts.latent, "samples": comfy.nested((picture, sound + change))}
        videos.append(
            run("DuetSampler", guider, latent, 5, 2, sigmas=torch.tensor([0.9, 0.5, 0.0]))[0]["samples"].unbind()[0]
        )
    assert difference(videos[:1], videos[1:]) < 1e-5, "a severed picture must not notice the sound"


def test_a_host_lora_changes_v10_and_the_official_lora_is_merged(run, second):
    import comfy.sd
    from javisdit_files import LORA_TARGET, V10, lora, weights

    base = weights(JavisDiT10(V10), 6)[f"{LORA_TARGET}.weight"]
    names = lora()
    low, high = (names[f"base_model.model.{LORA_TARGET}.lora_{side}.weight"] for side in "AB")
    inside = second.model.model.diffusion_model.blocks[0].self_attn.q.weight
    assert torch.allclose(inside, base + 0.25 * high @ low, atol=1e-6), "16 / 64, once"
    renamed = {name.replace("base_model.model", "diffusion_model"): value for name, value in names.items()}
    plain = sampled(run, second)
    second.model = comfy.sd.load_lora_for_models(second.model, None, renamed, 1.0, 0)[0]
    assert difference(sampled(run, second), plain) > 1e-3


def test_both_versions_decode_to_frames_and_audio_of_equal_duration(run, first, second):
    for parts, frames, width in ((first, 17, 64), (second, 17, 80)):
        streams = sampled(run, parts, steps=1)
        latent = {**parts.latent, "samples": __import__("comfy").nested_tensor.NestedTensor(list(streams))}
        images, audio, fps = run("DuetDecode", latent, parts.video, parts.audio, False)
        assert images[0].shape == (frames, HEIGHT, width, 3)
        assert audio[0]["sample_rate"] == 16_000
        assert audio[0]["waveform"].shape[-1] == round(frames / fps * 16_000)


def test_latents_of_another_model_are_rejected_by_name(run, first, second):
    with pytest.raises(ValueError, match=r"has the shape \(1, 16, .*JavisDiT v0\.1 needs 4 channels"):
        sampled(run, first, latent={**second.latent, "noise_mask": None})


def test_v10_does_not_support_priors(run, second):
    with pytest.raises(ValueError, match=r"JavisDiT v1\.0 does not support priors"):
        run("DuetLoadPrior", second.model, "auto", "auto")


@pytest.mark.parametrize("version", [FIRST, SECOND])
@pytest.mark.parametrize("computed", [torch.bfloat16, torch.float32])
def test_bfloat16_weights_run_in_either_precision(run, javis_folder, monkeypatch, version, computed):
    import comfy.model_management

    full = sampled(run, prepared(run, javis_folder, version))
    monkeypatch.setattr(comfy.model_management, "unet_dtype", lambda **_: torch.bfloat16)
    cast = None if computed == torch.bfloat16 else computed
    monkeypatch.setattr(comfy.model_management, "unet_manual_cast", lambda *_: cast)
    parts = prepared(run, javis_folder, version)
    assert parts.model.model.get_dtype_inference() == computed
    assert {p.dtype for p in parts.model.model.diffusion_model.parameters()} == {torch.bfloat16}
    found = sampled(run, parts)
    assert all(
        torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99
        for a, b in zip(found, full, strict=True)
    )
