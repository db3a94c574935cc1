"""Pocket LTX-2 as the host's own LTXAV model computes what the command line computes, on random weights."""

from types import SimpleNamespace

import pytest
import torch
from ltx2_pair import (
    OTHER,
    PROMPT,
    TOLERANCE,
    differences,
    host_sample,
    load_pair,
    own_sample,
    random_weights,
    with_random_lora,
)

from duet_av.pipelines.core.keep import KeepMask
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.timed_events import TimedEvents
from duet_av.pipelines.guidance.strategy import UCG, PerStreamCFG
from duet_av.pipelines.models.ltx2 import pocket_config


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    pytest.importorskip("diffusers")
    return random_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def pair(comfy, weights):
    return load_pair(comfy, weights)


@pytest.mark.parametrize("audio", ["", OTHER])
@pytest.mark.parametrize(
    "strategy",
    [PerStreamCFG(1.0, 1.0), PerStreamCFG(2.0, 3.0), UCG("U3", 2.0, 2.0, 3.0, 1.0, masked=True)],
    ids=["plain", "cfg", "modality"],
)
def test_sampling_equals_the_command_line(comfy, pair, strategy, audio):
    found = host_sample(comfy, pair, strategy, audio=audio)
    assert max(differences(found, own_sample(pair, strategy, audio=audio))) <= TOLERANCE


def test_the_two_prompts_reach_their_streams(comfy, pair):
    plain = PerStreamCFG(1.0, 1.0)
    same, other = (host_sample(comfy, pair, plain, audio=audio) for audio in ("", OTHER))
    assert min(differences(same, other)) > 1e-2


@pytest.mark.parametrize("kept", ["audio", "first frame"])
def test_kept_parts_equal_the_command_line(comfy, pair, kept):
    generator = torch.Generator().manual_seed(1)
    sizes = pair.own.network.latent_sizes(ClipShape())
    clean = sizes.map(lambda size: torch.randn(1, *size, generator=generator))
    video, audio = clean.map(lambda z: torch.ones(1, z.shape[2])).both()
    if kept == "audio":
        audio = audio * 0
    else:
        video[:, 0] = 0
    keep = KeepMask(clean, Streams(video, audio))
    masks = video[:, None, :, None, None].expand(1, 1, -1, 4, 4), audio[:, None, :, None]
    z = clean.both()
    latent = {**pair.latent, "samples": comfy.nested((z[0], z[1][..., None])), "noise_mask": comfy.nested(masks)}
    strategy = PerStreamCFG(2.0, 2.0)
    found = host_sample(comfy, pair, strategy, latent=latent)
    assert max(differences(found, own_sample(pair, strategy, keep=keep))) <= TOLERANCE


def test_timed_text_equals_the_command_line(comfy, pair, run):
    timeline, strategy = "0.1-0.6: the ball\n1.3-1.6 audio 0.5: the ball", PerStreamCFG(2.0, 2.0)
    more = {"audio": "", "seconds": 2.0, "strength": 1.0, "soft_edges": 0.0, "repeat_prompt": True}
    model, positive, _, _ = run("DuetTimedPrompt", *pair.loaded[:2], PROMPT, timeline=timeline, **more)
    guider = run("DuetGuider", model, positive, strategy, pair.prompts[""][1])[0]
    video, sound = run("DuetSampler", guider, pair.latent, 3, 3)[0]["samples"].unbind()
    expected = own_sample(pair, strategy, timed=[TimedEvents.read(timeline)])
    assert max(differences((video, sound[..., 0]), expected)) <= TOLERANCE
    assert min(differences(own_sample(pair, strategy), expected)) > 1e-3


def test_it_is_the_hosts_own_class(pair):
    from comfy.ldm.lightricks.av_model import LTXAVModel
    from comfy.model_base import LTXAV

    assert isinstance(pair.loaded[0].model, LTXAV)
    assert type(pair.loaded[0].model.diffusion_model) is LTXAVModel


def test_the_codecs_decode_what_they_encode(comfy, pair, run):
    latent = {**pair.latent, "samples": comfy.nested((torch.randn(1, 64, 8, 4, 4), torch.randn(1, 24, 32, 1)))}
    images, audio, fps = run("DuetDecode", latent, *pair.loaded[2:4], False)
    assert (images[0].shape, fps) == ((32, 64, 64, 3), 16.0)
    assert audio[0]["waveform"].shape == (1, 2, 32_000)
    frames = (images[0] * 255).round() / 255
    footage = {"images": frames, "audio": audio[0], "fps": 16.0, "anyway": True}
    encoded, _, _ = run("DuetEncodeAV", pair.latent, *pair.loaded[2:4], **footage)
    video, sound = encoded["samples"].unbind()
    assert (video.shape, sound.shape) == ((1, 64, 8, 4, 4), (1, 24, 32, 1))
    expected = pair.own.video_codec.encode(frames.permute(0, 3, 1, 2)[None])
    torch.testing.assert_close(video, expected, atol=1e-4, rtol=0)


def test_ltx_nodes_of_the_host_work_on_it(comfy, pair):
    from comfy_extras.nodes_lt import LTXVConditioning, LTXVModalityGuidance

    positive, negative = LTXVConditioning.execute(*pair.prompts[""], 16.0).args
    patched = LTXVModalityGuidance.execute(pair.loaded[0], 3.0, 0.0, 1.0).args[0]
    guider = comfy.pack["DuetGuider"].execute(patched, positive, PerStreamCFG(2.0, 2.0), negative).args[0]
    out = comfy.pack["DuetSampler"].execute(guider, pair.latent, 3, 3).args[0]["samples"].unbind()
    expected = own_sample(pair, UCG("U3", 2.0, 2.0, 3.0, 3.0, masked=True))
    assert max(differences((out[0], out[1][..., 0]), expected)) <= TOLERANCE


def test_the_preview_shows_the_mean_colours_of_the_pocket_cells(pair):
    from latent_preview import Latent2RGBPreviewer

    formats, codec = pair.loaded[0].model.latent_format, pair.own.video_codec
    names = ("latent_rgb_factors", "latent_rgb_factors_bias", "latent_rgb_factors_reshape")
    previewer = Latent2RGBPreviewer(*(getattr(formats, name) for name in names))
    frames = torch.full((1, 4, 3, 64, 64), 0.5)
    frames[:, :, 0, :, :8] = 1.0  # the left column of cells is red
    picture = previewer.decode_latent_to_preview(codec.encode(frames))
    assert picture.size == (8, 8)
    assert picture.getpixel((0, 4))[0] > picture.getpixel((5, 4))[0] + 60
    assert max(abs(value - 127) for value in picture.getpixel((5, 4))) < 30


def test_a_plan_is_refused_before_sampling(comfy, pair):
    from duet_av.nodes.types import PLAN

    positive, negative = pair.prompts[""]
    planned = [[text, {**options, PLAN: object()}] for text, options in positive]
    guider = comfy.pack["DuetGuider"].execute(pair.loaded[0], planned, PerStreamCFG(1.0, 1.0), negative).args[0]
    with pytest.raises(ValueError, match="Use the MODEL of 'Duet Load Planner'"):
        comfy.pack["DuetSampler"].execute(guider, pair.latent, 3, 2)


def test_where_the_weights_are_missing_the_loader_names_the_command_that_trains_them(comfy, monkeypatch, tmp_path):
    from duet_av.nodes.host import families

    monkeypatch.setitem(families.SHIPPED, families.LTX2, tmp_path / "pocket-ltx2.safetensors")
    with pytest.raises(ValueError, match="duet train pocket-ltx2 --weights weights"):
        comfy.pack["DuetLoadAV"].execute(families.LTX2, "auto", "auto", "auto")


@pytest.fixture(scope="module")
def context(comfy, pair, weights):
    """The MODEL with random context tokens, and the same on the command line."""
    import folder_paths

    from duet_av.pipelines.core.weights import save_weights, to_half
    from duet_av.pipelines.models.addons.context import ContextTokens
    from duet_av.pipelines.models.ltx2.load import load_pocket_ltx2_model

    torch.manual_seed(2)
    tokens = ContextTokens(pair.own.network.context_config())
    for parameter in tokens.parameters():
        torch.nn.init.normal_(parameter)
    path = weights.parent / "context.safetensors"
    config = {**vars(tokens.config), "base": pair.loaded[0].model.base_hash}
    save_weights(path, to_half(tokens), kind=pocket_config.CONTEXT_KIND, config=config, record={})
    folder_paths.add_model_folder_path("duet", str(path.parent))
    folder_paths.filename_list_cache.clear()
    model = comfy.pack["DuetLoadAddOn"].execute(pair.loaded[0], path.name).args[0]
    own = load_pocket_ltx2_model(weights, context=path)
    yield SimpleNamespace(**{**vars(pair), "own": own, "loaded": (model, *pair.loaded[1:]), "file": path.name})
    folder_paths.folder_names_and_paths["duet"][0].remove(str(path.parent))
    folder_paths.filename_list_cache.pop("duet", None)


@pytest.mark.parametrize(
    "strategy",
    [PerStreamCFG(2.0, 3.0), UCG("U3", 2.0, 2.0, 3.0, 1.5), UCG("U3", 2.0, 2.0, 3.0, 1.5, masked=True)],
    ids=["cfg", "ucg", "masked"],
)
def test_context_tokens_equal_the_command_line_and_change_what_is_sampled(comfy, pair, context, strategy):
    found = host_sample(comfy, context, strategy)
    assert max(differences(found, own_sample(context, strategy))) <= TOLERANCE
    if not isinstance(strategy, UCG) or strategy.masked:
        assert min(differences(found, host_sample(comfy, pair, strategy))) > 1e-3


def test_ucg_requires_context_tokens_and_a_model_takes_them_once(comfy, pair, context):
    with pytest.raises(ValueError, match="UCG needs learnt context tokens"):
        host_sample(comfy, pair, UCG("U3"))
    with pytest.raises(ValueError, match="already has context tokens"):
        comfy.pack["DuetLoadAddOn"].execute(context.loaded[0], context.file)


def test_the_base_is_unchanged_after_the_model_with_tokens_was_used(comfy, pair, context):
    strategy = PerStreamCFG(2.0, 2.0)
    before = host_sample(comfy, pair, strategy)
    host_sample(comfy, context, strategy)
    assert all(torch.equal(a, b) for a, b in zip(before, host_sample(comfy, pair, strategy), strict=True))


def test_context_tokens_and_a_lora_work_together(comfy, context):
    with_lora = with_random_lora(context, "audio_to_video_attn.to_k")
    strategy = UCG("U3", 2.0, 2.0, 3.0, 1.5)
    assert min(differences(host_sample(comfy, with_lora, strategy), host_sample(comfy, context, strategy))) > 1e-4
