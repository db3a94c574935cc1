"""Footage inside a real ComfyUI: encoding, keeping and generating from it; provenance of saved files."""

import av
import pytest
import torch

from duet_av.pipelines.bench.readings import render
from duet_av.pipelines.core.keep import FIRST, VIDEO
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.guidance.strategy import DEFAULT
from duet_av.pipelines.media.footage import Footage
from duet_av.pipelines.media.provenance import read_provenance
from duet_av.pipelines.models.pocket.footage import encode_footage
from duet_av.pipelines.models.pocket.generate import Request, sample
from duet_av.pipelines.models.pocket.load import PocketModel
from duet_av.pipelines.world import caption, make_scene

SCENE = make_scene(7, 3, stratum="single")


@pytest.fixture(scope="module")
def clip():
    """Frames [t, h, w, 3] and the host's AUDIO."""
    frames, waveform = render([SCENE], ClipShape())
    return frames[0].permute(0, 2, 3, 1), {"waveform": waveform, "sample_rate": 16_000}


@pytest.fixture
def empty(run, loaded):
    return run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 0, 1)[0]


def generated(run, loaded, latent, seed=5):
    positive, negative = run("DuetEncodePrompt", loaded[1], caption(SCENE), "", "")[:2]
    strategy = run("DuetGuider", loaded[0], positive, DEFAULT, negative)[0]
    return run("DuetSampler", strategy, latent, seed, 4)[0]["samples"].unbind()


def gap(a, b):
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("keep", "count"), [(VIDEO, 32), (FIRST, 1)])
def test_nodes_and_command_line_agree(run, loaded, empty, clip, keep, count):
    model, shape, frames = PocketModel.load(), ClipShape(), clip[0][:count]
    latent, _, notice = run("DuetEncodeAV", empty, *loaded[2:4], images=frames)
    assert f"{count} image(s)" in notice
    frozen = run("DuetFreezeStream", latent, keep, 0.0, 1.0, 0.0)[0]
    bytes_ = (frames * 255).round() / 255
    given = encode_footage(model, Footage(keep, frames=bytes_), shape, 1)
    request = Request([caption(SCENE)], seed=5, steps=4, strategy=DEFAULT, keep=given)
    assert gap(generated(run, loaded, frozen), sample(model.network, model.text, request)) < 1e-4


def test_audio_is_kept_and_returned_unchanged(run, loaded, empty, clip):
    audio = {"waveform": torch.cat([clip[1]["waveform"]] * 2, dim=1)[:, :1].repeat(1, 3, 1), "sample_rate": 44_100}
    latent, original, _ = run("DuetEncodeAV", empty, *loaded[2:4], audio=audio, anyway=True)
    assert original is audio
    frozen = run("DuetFreezeStream", latent, "audio", 0.0, 1.0, 0.0)[0]
    assert gap(generated(run, loaded, frozen)[1:], latent["samples"].unbind()[1:]) < 1e-5


def test_every_clip_of_a_batch_keeps_the_same_footage(run, loaded, clip):
    latent = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 0, 2)[0]
    video = run("DuetEncodeAV", latent, *loaded[2:4], images=clip[0])[0]["samples"].unbind()[0]
    assert video.shape[0] == 2
    assert torch.equal(video[0], video[1])


def test_a_video_fills_both_streams_and_two_images_fill_both_ends(run, loaded, empty, clip):
    from comfy_api.latest import InputImpl, Types

    frames, audio = clip
    parts = Types.VideoComponents(images=frames, audio=audio, frame_rate=16)
    latent, _, notice = run("DuetEncodeAV", empty, *loaded[2:4], video=InputImpl.VideoFromComponents(parts))
    assert "32 image(s), 2.00 s of audio" in notice
    whole = latent["samples"].unbind()[0]
    ends = run("DuetEncodeAV", empty, *loaded[2:4], images=frames[[0, -1]])[0]["samples"].unbind()[0]
    assert gap([ends[:, :, 1:-1]], [torch.zeros_like(ends[:, :, 1:-1])]) == 0
    assert (ends[:, :, -1] - whole[:, :, -1]).abs().mean() < 0.2
    with pytest.raises(ValueError, match="Both a video and images"):
        run("DuetEncodeAV", empty, *loaded[2:4], video=InputImpl.VideoFromComponents(parts), images=frames)
    with pytest.raises(ValueError, match="No footage is connected"):
        run("DuetEncodeAV", empty, *loaded[2:4])


def test_out_of_domain_and_short_footage_are_rejected(run, loaded, empty, clip):
    photo = torch.rand(1, 5, 5, 3).permute(0, 3, 1, 2)
    photo = torch.nn.functional.interpolate(photo, size=200, mode="bicubic").permute(0, 2, 3, 1).clamp(0, 1)
    with pytest.raises(ValueError, match=r"does not look like the pocket world.*full-size model"):
        run("DuetEncodeAV", empty, *loaded[2:4], images=photo)
    assert "does not look" in run("DuetEncodeAV", empty, *loaded[2:4], images=photo, anyway=True)[2]
    with pytest.raises(ValueError, match=r"The images last 0\.62 s and the latent 2\.00 s"):
        run("DuetEncodeAV", empty, *loaded[2:4], images=clip[0][:10])


@pytest.mark.parametrize("name", ["ltx", "h3"])
@pytest.mark.parametrize("keep", ["video", "audio", "first frame"])
def test_streams_of_host_models_are_kept(comfy, run, request, name, keep):
    host = request.getfixturevalue(name)
    latent = {"samples": comfy.nested([torch.randn(z.shape) for z in host.latent.unbind()])}
    frozen = run("DuetFreezeStream", latent, keep, 0.0, 1.0, 0.0)[0]
    masks = frozen["noise_mask"].unbind()
    assert [m.shape[2:] for m in masks] == [z.shape[2:] for z in host.latent.unbind()]
    stock = comfy.samplers.CFGGuider(host.model)
    stock.set_conds(host.positive, host.negative)
    stock.set_cfg(1.0)
    noise = comfy.nested([torch.randn(z.shape) for z in host.latent.unbind()])
    sigmas = comfy.samplers.calculate_sigmas(host.model.get_model_object("model_sampling"), "simple", 3)
    out = stock.sample(
        noise,
        latent["samples"],
        comfy.samplers.sampler_object("euler"),
        sigmas,
        denoise_mask=frozen["noise_mask"],
        disable_pbar=True,
        seed=1,
    ).unbind()
    for z, given, mask in zip(out, latent["samples"].unbind(), masks, strict=True):
        kept = (mask == 0).expand_as(z)
        assert (z - given)[kept].abs().sum() < 1e-2
        assert mask.min() == 1 or kept.any()


def test_a_range_needs_a_duration_and_the_time_axis_of_h3_is_last(comfy, run, h3):
    latent = {"samples": h3.latent}
    with pytest.raises(ValueError, match="Set 'seconds'"):
        run("DuetFreezeStream", latent, "a range of seconds", 0.0, 1.0, 0.0)
    video, audio = run("DuetFreezeStream", latent, "a range of seconds", 0.0, 1.0, 2.0)[0]["noise_mask"].unbind()
    assert video[0, 0, :, 0, 0].tolist() == [0, 1]
    assert audio[0, 0, 1].tolist() == [0] * 4 + [1] * 4


def test_painted_areas_are_regenerated(run, empty):
    mask = torch.zeros(1, 64, 64)
    mask[:, :32] = 1
    video, audio = run("DuetFreezeStream", empty, "video", 0.0, 1.0, 0.0, mask)[0]["noise_mask"].unbind()
    assert video[0, 0, 3].mean(-1).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert audio.unique().tolist() == [1]


def test_a_saved_video_contains_its_provenance(comfy, run, clip, tmp_path, monkeypatch):
    from comfy.cli_args import args

    from duet_av.nodes.host.provenance import above, of_graph

    graph = {
        "1": {
            "class_type": "DuetLoadAV",
            "inputs": dict.fromkeys(("model", "text_encoder", "video_codec", "audio_codec"), "auto"),
        },
        "2": {
            "class_type": "DuetEncodePrompt",
            "inputs": {"clip": ["5", 1], "video": "a red ball", "audio": "", "negative": ""},
        },
        "3": {"class_type": "DuetSampler", "inputs": {"guider": ["2", 0], "seed": 11}},
        "4": {"class_type": "DuetMux", "inputs": {"images": ["3", 0]}},
        "5": {"class_type": "DuetLoadPlanner", "inputs": {"model": ["1", 0]}},
        "9": {"class_type": "DuetSampler", "inputs": {"seed": 12}},
    }
    assert above(graph, "4") == ["4", "3", "2", "5", "1"]
    found = of_graph(graph, "4")
    assert found["model"] == "Duet pocket model"
    assert {"pocket-av.safetensors", "pocket-plan.safetensors"} < set(found["weights"])
    assert found["seeds"] == {"DuetSampler 3": 11}
    assert found["origin"] == "generated by a model"
    assert found["prompts"] == ["a red ball"]
    assert ["red ball bounces" in caption for caption in found["prompts read as"]] == [True]
    assert "Apache-2.0" in found["licence"]
    (video,) = run("DuetMux", clip[0], clip[1], 16.0, 1)
    video.provenance = found
    video.save_to(str(tmp_path / "a.mp4"), metadata={"prompt": graph})
    assert read_provenance(tmp_path / "a.mp4") == {"duet": found, "prompt": graph}
    monkeypatch.setattr(args, "disable_metadata", True)
    video.save_to(str(tmp_path / "b.mp4"))
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert "duet" not in container.metadata


def test_the_strictest_licence_is_reported(comfy):
    from duet_av.nodes.host.provenance import strictest

    assert strictest(["a: Apache-2.0", "b: CC-BY-NC, non-commercial", "c: not stated in the repository"]).startswith(
        "b"
    )
    assert strictest(["a: Apache-2.0", "c: not stated in the repository"]).startswith("c")
    assert strictest([]) == ""
