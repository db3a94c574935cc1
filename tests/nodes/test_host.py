"""The pack inside a real ComfyUI, without a server."""

import logging

import pytest
import torch
from node_inputs import INPUTS

from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.guidance.modifiers import UnimodalStrategy
from duet_av.pipelines.guidance.strategy import PerStreamCFG
from duet_av.pipelines.models.pocket.generate import Request, decode, sample
from duet_av.pipelines.models.pocket.load import PocketModel

PROMPT = "a small red ball bounces slowly on the left at night"
STEPS = 6


@pytest.fixture
def conditioned(run, loaded):
    return run("DuetEncodePrompt", loaded[1], PROMPT, "", "")[:2]


@pytest.fixture
def guider(run, loaded, conditioned):
    positive, negative = conditioned
    return run("DuetGuider", loaded[0], positive, PerStreamCFG(3.0, 2.0), negative)[0]


@pytest.fixture
def sampled(run, guider, empty):
    return run("DuetSampler", guider, empty, 7, STEPS)[0]


def difference(a, b):
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True))


def test_host_and_command_line_latents_agree(comfy, sampled):
    model = PocketModel.load()
    request = Request([PROMPT], seed=7, steps=STEPS, strategy=PerStreamCFG(3.0, 2.0))
    own = sample(model.network, model.text, request)
    assert difference(sampled["samples"].unbind(), own) < 1e-4


def test_each_clip_of_a_batch_equals_the_clip_of_its_seed(run, loaded, guider):
    batch = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 16, 2)[0]
    single = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 16, 1)[0]
    both = run("DuetSampler", guider, batch, 7, 3)[0]["samples"].unbind()
    second = run("DuetSampler", guider, single, 8, 3)[0]["samples"].unbind()
    assert difference([stream[1:] for stream in both], second) < 1e-4


def test_stock_ksampler_with_equal_scales_equals_the_guider(comfy, run, loaded, conditioned, empty):
    model, positive, negative = loaded[0], *conditioned
    (stock,) = comfy.core.KSampler().sample(model, 7, 4, 3.0, "euler", "simple", positive, negative, empty)
    guider = run("DuetGuider", model, positive, PerStreamCFG(3.0, 3.0), negative)[0]
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 4)
    euler = comfy.samplers.sampler_object("euler")
    ours = run("DuetSampler", guider, empty, 7, 4, sampler=euler, sigmas=sigmas)[0]
    assert difference(stock["samples"].unbind(), ours["samples"].unbind()) < 1e-4


def test_the_default_sampler_is_that_of_the_command_line_on_pocket_models_alone(comfy, guider, ltx):
    from duet_av.nodes.host.sample import default_sampler

    others = comfy.samplers.CFGGuider(ltx.model)
    names = [default_sampler(g).sampler_function.__name__ for g in (guider, others)]
    assert names == ["_multistep", "sample_euler"]


def test_the_default_sampler_reports_every_step(comfy, run, guider, empty, monkeypatch):
    """Previews and cancelling need a callback after each step, with the current latent."""
    import latent_preview

    seen = []
    monkeypatch.setattr(
        latent_preview,
        "prepare_callback",
        lambda *_: lambda step, x0, x, total: seen.append((step, x.unbind()[0].std())),
    )
    run("DuetSampler", guider, empty, 7, 4)
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    assert len({float(deviation) for _, deviation in seen}) == 4, "the latent changes"


def test_custom_sampler_runs_the_guider(comfy, guider, empty):
    noise = comfy.custom.Noise_RandomNoise(7)
    sigmas = torch.linspace(1, 0, 4)
    euler = comfy.samplers.sampler_object("euler")
    out = comfy.custom.SamplerCustomAdvanced.execute(noise, guider, euler, sigmas, empty).args[0]
    assert [tuple(stream.shape) for stream in out["samples"].unbind()] == [(1, 16, 8, 8, 8), (1, 24, 32)]


def test_neutral_scales_cost_one_pass(comfy, run, loaded, conditioned, empty, monkeypatch):
    positive, negative = conditioned
    guider, cost = run("DuetGuider", loaded[0], positive, PerStreamCFG(1.0, 1.0), negative)
    counted = []
    original = comfy.samplers.calc_cond_batch
    monkeypatch.setattr(
        comfy.samplers, "calc_cond_batch", lambda m, conds, *a: counted.append(len(conds)) or original(m, conds, *a)
    )
    run("DuetSampler", guider, empty, 0, 3)
    assert (cost, counted) == ("1 pass per step; the strategy has no effect at these settings", [1, 1, 1])


def test_a_closed_branch_reaches_the_network(comfy, run, loaded, conditioned, empty):
    from duet_av.nodes.host.guider import StrategyGuider

    positive, negative = conditioned
    joint = run("DuetSampler", StrategyGuider(loaded[0], positive, negative, PerStreamCFG(1.0, 1.0)), empty, 3, 2)[0]
    severed = StrategyGuider(loaded[0], positive, negative, UnimodalStrategy(PerStreamCFG(1.0, 1.0)))
    a = run("DuetSampler", severed, empty, 3, 2)[0]["samples"].unbind()
    assert difference(a, joint["samples"].unbind()) > 1e-2
    other = {**empty, "samples": comfy.nested((empty["samples"].unbind()[0], torch.ones(1, 24, 32)))}
    keep = comfy.nested((torch.ones(1, 1, 8, 8, 8), torch.zeros(1, 1, 32)))
    b = run("DuetSampler", severed, {**other, "noise_mask": keep}, 3, 2)[0]["samples"].unbind()
    assert difference([a[0]], [b[0]]) < 1e-5, "the severed video must not notice what the audio is"


def test_a_kept_stream_is_unchanged_and_affects_the_other(comfy, run, guider, sampled):
    video, audio = sampled["samples"].unbind()
    keep = comfy.nested((torch.ones(1, 1, 8, 8, 8), torch.zeros(1, 1, 32)))
    noises = [
        run("DuetSampler", guider, {"samples": comfy.nested((video, a)), "noise_mask": keep}, 5, 3)[0]
        for a in (audio, audio.flip(-1))
    ]
    (first, kept), (second, _) = (n["samples"].unbind() for n in noises)
    assert difference([kept], [audio]) < 1e-5
    assert difference([first], [second]) > 1e-2


def test_a_separate_audio_prompt_changes_the_audio(run, loaded, empty):
    scores = []
    for audio in ("", "a large green bell rings quickly on the right in a meadow"):
        positive, negative, _ = run("DuetEncodePrompt", loaded[1], PROMPT, audio, "")
        guider = run("DuetGuider", loaded[0], positive, PerStreamCFG(), negative)[0]
        scores.append(run("DuetSampler", guider, empty, 7, 3)[0]["samples"].unbind())
    assert difference(*scores) > 1e-2


def test_stock_nodes_accept_clip_and_codecs(comfy, run, loaded, conditioned, sampled):
    _, clip, video_vae, audio_vae = loaded
    (encoded,) = comfy.core.CLIPTextEncode().encode(clip, PROMPT)
    assert torch.equal(encoded[0][0], conditioned[0][0][0])
    images, audio, fps = run("DuetDecode", sampled, video_vae, audio_vae, False)
    assert torch.equal(comfy.core.VAEDecode().decode(video_vae, sampled)[0], images[0])
    heard = comfy.audio.VAEDecodeAudio.execute(audio_vae, sampled).args[0]
    assert (heard["sample_rate"], heard["waveform"].shape, fps) == (16_000, audio[0]["waveform"].shape, 16.0)
    back = comfy.core.VAEEncode().encode(video_vae, images[0])[0]["samples"]
    assert back.shape == sampled["samples"].unbind()[0].shape
    mono = {"waveform": heard["waveform"][:, :1], "sample_rate": 16_000}
    assert comfy.audio.VAEEncodeAudio.execute(audio_vae, mono).args[0]["samples"].shape == (1, 24, 32)


def test_tiled_decoding_is_exact_for_a_linear_codec(run, loaded, sampled):
    whole, tiled = (run("DuetDecode", sampled, *loaded[2:], tiling)[0][0] for tiling in (False, True))
    assert torch.allclose(whole, tiled, atol=1e-5)


def test_a_clip_larger_than_a_tile_is_decoded_in_tiles(comfy, run, loaded):
    latent = run("DuetEmptyLatent", loaded[0], 1024, 64, 0.25, 0, 1)[0]
    noise = [torch.randn(z.shape, generator=torch.Generator().manual_seed(0)) for z in latent["samples"].unbind()]
    latent = {**latent, "samples": comfy.nested(noise)}
    whole, tiled = (run("DuetDecode", latent, *loaded[2:], tiling)[0][0] for tiling in (False, True))
    assert whole.shape == tiled.shape == (4, 64, 1024, 3)
    assert (whole - tiled).abs().mean() < 0.01


def test_prompt_weights_scale_a_word(loaded):
    clip = loaded[1]
    caption = "a small red {} bounces slowly on the left at night"
    plain, weighted = (clip.encode_from_tokens(clip.tokenize(caption.format(w))) for w in ("ball", "(ball:1.5)"))
    assert torch.allclose(weighted[:, 3], 1.5 * plain[:, 3], atol=1e-6)
    assert torch.equal(weighted[:, :3], plain[:, :3])


def test_unknown_words_are_reported_by_both_text_nodes(comfy, run, loaded, caplog):
    assert "'wobbly'" in run("DuetEncodePrompt", loaded[1], "a wobbly ball", "", "")[2]
    with caplog.at_level(logging.WARNING):
        comfy.core.CLIPTextEncode().encode(loaded[1], "a wobbly ball")
    assert "'wobbly'" in caplog.text


def test_the_video_has_the_requested_duration_rate_and_size(run, loaded, sampled, tmp_path):
    from duet_av.pipelines.media.mp4 import read_mp4

    images, audio, fps = run("DuetDecode", sampled, *loaded[2:], False)
    (video,) = run("DuetMux", images[0], audio[0], fps, 4)
    video.save_to(str(tmp_path / "clip.mp4"))
    clip = read_mp4(tmp_path / "clip.mp4")
    assert (clip.frames.shape, clip.fps, clip.sample_rate) == ((32, 256, 256, 3), 16.0, 16_000)
    assert abs(clip.waveform.shape[1] / 16_000 - 2.0) <= 1024 / 16_000


def test_another_waveform_can_be_muxed_and_never_clips(run, loaded, sampled):
    images, audio, fps = run("DuetDecode", sampled, *loaded[2:], False)
    loud = {"waveform": torch.full((1, 2, 100_000), 3.0), "sample_rate": 48_000}
    components = run("DuetMux", images[0], audio[0], fps, 1, loud)[0].get_components()
    assert components.audio["sample_rate"] == 48_000
    assert components.audio["waveform"].shape[-1] == 96_000
    assert components.audio["waveform"].abs().max() <= 1


def test_previews_show_the_mean_colour_of_the_decoded_cells(loaded):
    model, _, video_vae, _ = loaded
    latent = torch.randn(1, 16, 1, 4, 4) * 0.3
    form = model.model.latent_format
    preview = torch.einsum("bcthw,cr->bthwr", latent, torch.tensor(form.latent_rgb_factors)) + torch.tensor(
        form.latent_rgb_factors_bias
    )
    patches = video_vae.first_stage_model.codec.pca.decode(latent.movedim(1, -1)).unflatten(-1, (3, -1)).mean(-1)
    assert torch.allclose((preview + 1) / 2, patches, atol=1e-5)


def test_the_decoded_clip_equals_that_of_the_command_line(run, loaded, sampled):
    model = PocketModel.load()
    request = Request([PROMPT], seed=7, steps=STEPS, strategy=PerStreamCFG(3.0, 2.0))
    (own,) = decode(model, sample(model.network, model.text, request), ClipShape())
    images = run("DuetDecode", sampled, *loaded[2:], False)[0]
    assert torch.allclose(images[0].cpu(), own.frames, atol=1e-3)


@pytest.mark.parametrize(
    ("node", "arguments", "message"),
    [
        ("DuetEmptyLatent", (60, 64, 2.0, 16, 1), "width is 60; it must be a multiple of 32"),
        ("DuetEmptyLatent", (64, 64, 2.0, 24, 1), "this model generates 16 fps"),
    ],
)
def test_unsupported_sizes_are_rejected(run, loaded, node, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(node, loaded[0], *arguments)


def test_a_latent_with_one_stream_is_rejected(comfy, run, loaded, guider, conditioned):
    single = {"samples": torch.zeros(1, 16, 8, 8, 8)}
    with pytest.raises(ValueError, match="Duet Empty Latent"):
        run("DuetSampler", guider, single, 0, 2)
    with pytest.raises(ValueError, match="joint audio-video latent"):
        comfy.core.KSampler().sample(loaded[0], 0, 2, 1.0, "euler", "simple", *conditioned, single)


def test_guidance_without_a_negative_prompt_is_rejected(run, loaded, conditioned):
    with pytest.raises(ValueError, match="negative prompt"):
        run("DuetGuider", loaded[0], conditioned[0], PerStreamCFG(3.0, 3.0))


def test_every_node_has_a_help_page_a_description_and_search_aliases(comfy, root):
    for node_id, node in comfy.pack.items():
        schema = node.GET_SCHEMA()
        assert (root / "web" / "docs" / f"{node_id}.md").is_file(), node_id
        assert schema.description, node_id
        assert schema.search_aliases, node_id


def test_every_input_and_output_has_a_tooltip(comfy):
    fields = [
        (node_id, field.id or field.display_name, field.tooltip)
        for node_id, node in comfy.pack.items()
        for field in (*node.GET_SCHEMA().inputs, *node.GET_SCHEMA().outputs)
    ]
    assert [f"{node_id}.{name}" for node_id, name, tooltip in fields if not (tooltip or "").strip()] == []


def test_node_ids_and_inputs_do_not_change(comfy):
    assert {name: [field.id for field in node.GET_SCHEMA().inputs] for name, node in comfy.pack.items()} == INPUTS
