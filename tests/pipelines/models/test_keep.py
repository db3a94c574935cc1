"""Kept streams, frames and ranges; footage from files; provenance and labels."""

from functools import partial

import pytest
import torch
from PIL import Image

from duet_av.pipelines.bench.prompts import DEVELOPMENT, bench_prompts
from duet_av.pipelines.bench.readings import Probes, render
from duet_av.pipelines.bench.runner import Variant, score_chunk
from duet_av.pipelines.bench.suites.adapter import (
    AGAINST,
    PLAIN_CFG,
    RECORD_UCG,
    VARIANTS,
    keep_from_independent,
    keep_from_rendered,
)
from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.keep import KEEPS, VIDEO, KeepMask, regenerated_frames
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Clip, Streams
from duet_av.pipelines.guidance.sampling import keep_clean
from duet_av.pipelines.guidance.strategy import DEFAULT, PerStreamCFG
from duet_av.pipelines.media.conform import read_streams
from duet_av.pipelines.media.footage import Footage, read_footage
from duet_av.pipelines.media.mp4 import read_mp4, write_mp4
from duet_av.pipelines.media.provenance import describe, read_provenance
from duet_av.pipelines.media.sound import read_sound, resample
from duet_av.pipelines.media.watermark import add_label
from duet_av.pipelines.models.choose import with_condition
from duet_av.pipelines.models.pocket.domain import audio_domain_problem, video_domain_problem
from duet_av.pipelines.models.pocket.footage import encode_footage
from duet_av.pipelines.models.pocket.generate import Request, sample
from duet_av.pipelines.models.pocket.load import PocketModel
from duet_av.pipelines.models.pocket.provenance import pocket_provenance
from duet_av.pipelines.world import caption, make_scene, make_scenes
from duet_av.pipelines.world.scene import MIX

FRAMES = Streams(8, 32)
SHAPE = ClipShape()


@pytest.fixture(scope="module")
def model():
    return PocketModel.load()


@pytest.fixture(scope="module")
def scene():
    return make_scene(7, 3, stratum="single")


@pytest.fixture(scope="module")
def clip(scene):
    frames, waveform = render([scene], SHAPE)
    return Clip(frames[0].permute(0, 2, 3, 1), 16.0, waveform[0], 16_000)


@pytest.mark.parametrize(
    ("keep", "video", "audio"),
    [
        ("video", "00000000", "1" * 32),
        ("audio", "11111111", "0" * 32),
        ("first frame", "01111111", "1" * 32),
        ("first and last frame", "01111110", "1" * 32),
        ("first frame and audio", "01111111", "0" * 32),
        ("first and last frame and audio", "01111110", "0" * 32),
        ("a range of seconds", "11001111", "1" * 8 + "0" * 8 + "1" * 16),
        ("all but a range", "00110000", "0" * 8 + "1" * 8 + "0" * 16),
    ],
)
def test_kept_frames_are_not_regenerated(keep, video, audio):
    regenerate = regenerated_frames(keep, FRAMES, seconds=2.0, start=0.5, end=1.0)
    assert ["".join(str(int(x)) for x in m) for m in regenerate.both()] == [video, audio]
    assert keep in KEEPS


@pytest.mark.parametrize(
    ("keep", "start", "end", "message"),
    [
        ("sound", 0.0, 1.0, "keep is 'sound'; it must be one of video, audio"),
        ("a range of seconds", 1.0, 1.0, "start before it ends"),
        ("a range of seconds", 0.0, 2.5, "lie within the clip, 0 to 2 s"),
        ("a range of seconds", 0.0, 2.0, "nothing is left to regenerate"),
    ],
)
def test_an_invalid_keep_setting_is_refused(keep, start, end, message):
    with pytest.raises(ValueError, match=message):
        regenerated_frames(keep, FRAMES, seconds=2.0, start=start, end=end)


def test_the_denoiser_reads_and_returns_kept_frames_clean():
    x = Streams(torch.full((1, 2, 2, 1, 1), 5.0), torch.full((1, 2, 4), 5.0))
    mask = KeepMask(x.map(torch.zeros_like), Streams(torch.tensor([[0.0, 1.0]]), torch.ones(1, 4)))
    seen = []
    out = keep_clean(lambda z, sigma: seen.append(z) or z.map(lambda a: a + sigma), mask)(x, 0.5)
    assert seen[0].video.flatten().tolist() == [0, 5, 0, 5]
    assert out.video.flatten().tolist() == [0, 5.5, 0, 5.5]
    assert out.audio.unique().tolist() == [5.5]


@torch.inference_mode()
def test_a_kept_video_is_unchanged_and_influences_the_audio(model, scene):
    frames, _ = render([scene, make_scene(7, 4, stratum="single")], SHAPE)
    latents, audio = model.video_codec.encode(frames), []
    regenerate = regenerated_frames("video", FRAMES, seconds=2.0).map(lambda m: m[None])
    for z in latents[:, None]:
        mask = KeepMask(Streams(z, torch.zeros(1, 24, 32)), regenerate)
        out = sample(model.network, model.text, Request([caption(scene)], seed=3, steps=3, strategy=DEFAULT, keep=mask))
        assert torch.allclose(out.video, z, atol=1e-5)
        audio.append(out.audio)
    assert not torch.allclose(*audio, atol=1e-2)


@pytest.mark.slow
def test_audio_generated_for_a_video_is_synchronous(tmp_path, clip, scene, capsys):
    write_mp4(tmp_path / "in.mp4", Clip(clip.frames, clip.fps, torch.zeros(2, 32_000), 16_000))
    out = tmp_path / "out.mp4"
    assert main(["generate", caption(scene), "--video", str(tmp_path / "in.mp4"), "-o", str(out)]) == 0
    assert "synchrony F1 1.00" in capsys.readouterr().out
    provenance_of_clip = read_provenance(out)["duet"]
    assert provenance_of_clip["settings"]["kept"] == "in.mp4"
    assert provenance_of_clip["prompts"] == [caption(scene)]
    assert set(provenance_of_clip["weights"]) == {
        f"pocket-{p}.safetensors" for p in ("av", "text", "video-codec", "audio-codec")
    }
    assert main(["doctor", str(out)]) == 0
    assert "licence: Apache-2.0" in capsys.readouterr().out


@pytest.mark.slow
def test_audio_is_generated_through_the_adapter(tmp_path, clip, scene, capsys):
    write_mp4(tmp_path / "in.mp4", Clip(clip.frames, clip.fps, torch.zeros(2, 32_000), 16_000))
    out = tmp_path / "out.mp4"
    words = ["generate", caption(scene), "--adapter", "--steps", "10", "-o", str(out)]
    assert main([*words, "--video", str(tmp_path / "in.mp4")]) == 0
    provenance_of_clip = read_provenance(out)["duet"]
    assert {"pocket-adapter.safetensors", "pocket-adapter-v2a.safetensors"} <= set(provenance_of_clip["weights"])
    assert provenance_of_clip["settings"]["kept"] == "in.mp4"
    capsys.readouterr()
    assert main(words) == 2
    assert "Use it with --video or --audio" in capsys.readouterr().err


def test_kept_audio_is_copied_unchanged(tmp_path, clip, model):
    rate = 44_100
    wave = resample(clip.waveform, rate=16_000, to=rate)
    write_mp4(tmp_path / "in.mp4", Clip(clip.frames, 16.0, wave, rate))
    footage = read_footage(tmp_path / "in.mp4", "audio", SHAPE)
    sound, own = read_sound(tmp_path / "in.mp4")
    assert own == footage.sample_rate == rate
    assert torch.equal(footage.waveform, sound[:, : 2 * rate])
    over = footage.over(clip)
    assert over.sample_rate == rate
    assert torch.equal(over.waveform, footage.waveform)
    mask = encode_footage(model, footage, SHAPE, 3)
    assert mask.latents.audio.shape == (3, 24, 32)
    assert [float(m.mean()) for m in mask.regenerate.both()] == [1, 0]


def test_an_image_becomes_the_first_frame(tmp_path, clip, model):
    Image.fromarray((clip.frames[0] * 255).byte().numpy()).resize((128, 128), Image.Resampling.NEAREST).save(
        tmp_path / "a.png"
    )
    mask = encode_footage(model, read_footage(tmp_path / "a.png", "first frame", SHAPE), SHAPE, 1)
    frames = model.video_codec.decode(mask.latents.video[:, :, :1])
    assert (frames[0] - clip.frames[0].permute(2, 0, 1)).abs().mean() < 0.03
    assert mask.regenerate.video.tolist() == [[0] + [1] * 7]


def test_footage_that_is_too_short_or_lacks_the_stream_is_refused(tmp_path, clip):
    write_mp4(tmp_path / "a.mp4", clip)
    with pytest.raises(ValueError, match=r"lasts 2\.\d+ s, but 2 s starting at 1 s are required"):
        read_footage(tmp_path / "a.mp4", "video", SHAPE, start=1.0)
    Image.new("RGB", (80, 80)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="has no audio stream"):
        read_footage(tmp_path / "a.png", "audio", SHAPE)
    (tmp_path / "b.mp4").write_bytes(b"not a film")
    with pytest.raises(ValueError, match="cannot be read as a media file"):
        read_streams(tmp_path / "b.mp4", SHAPE)


def test_the_domain_check_accepts_the_world_and_refuses_other_footage(model, clip):
    frames, waveforms = render(make_scenes(31, 24, mix=MIX), SHAPE)
    assert [
        video_domain_problem(f) + audio_domain_problem(model.audio_codec, w)
        for f, w in zip(frames, waveforms, strict=True)
    ] == [""] * 24
    generator = torch.Generator().manual_seed(0)
    clouds = torch.nn.functional.interpolate(torch.rand(20, 3, 5, 5, generator=generator), size=64, mode="bicubic")
    assert all("does not look like the pocket world" in video_domain_problem(c[None].clamp(0, 1)) for c in clouds)
    tone = torch.sin(torch.arange(32_000) / 16_000 * 440 * 6.2832).expand(2, -1) * 0.5
    assert "does not sound like the pocket world" in audio_domain_problem(model.audio_codec, tone)
    footage = Footage("video", frames=clouds.permute(0, 2, 3, 1)[:1].clamp(0, 1).expand(32, -1, -1, -1))
    with pytest.raises(ValueError, match="For your own footage, use a full-size model"):
        encode_footage(model, footage, SHAPE, 1)
    assert encode_footage(model, footage, SHAPE, 1, skip_check=True).latents.video.shape == (1, 16, 8, 8, 8)


def test_a_file_contains_its_provenance(tmp_path, clip):
    model = with_condition(PocketModel.load(), "plan")
    provenance_of_clip = pocket_provenance(model, prompts=["a ball"], seed=3, steps=4, plan=None)
    write_mp4(tmp_path / "a.mp4", clip, metadata={"duet": provenance_of_clip})
    found = read_provenance(tmp_path / "a.mp4")
    assert found["duet"] == provenance_of_clip
    assert provenance_of_clip["settings"] == {"steps": 4}
    assert "pocket-plan.safetensors" in provenance_of_clip["weights"]
    assert "seed: 3" in describe(found)
    assert read_mp4(tmp_path / "a.mp4").frames.shape[0] == 32
    write_mp4(tmp_path / "b.mp4", clip)
    assert read_provenance(tmp_path / "b.mp4") == {}
    assert main(["doctor", str(tmp_path / "b.mp4")]) == 2
    graph = {"duet": provenance_of_clip, "prompt": {"1": {"class_type": "DuetMux"}}}
    assert "1 nodes" in describe(graph)


def test_damaged_provenance_is_reported(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("duet", "{half")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(ValueError, match="'duet', which another program has changed: not JSON"):
        read_provenance(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read_provenance(tmp_path / "b.png")


def test_a_label_is_optional():
    frames = torch.full((2, 128, 256, 3), 0.5)
    assert add_label(frames, "") is frames
    marked = add_label(frames, "AI generated")
    changed = (marked != frames).any(-1)
    assert not changed[:, :100].any()
    assert changed[:, 110:, 128:].any()
    assert torch.equal(frames, torch.full((2, 128, 256, 3), 0.5))
    with pytest.raises(ValueError, match=r"needs \d+ x \d+ pixels, but the frame has 32 x 32"):
        add_label(torch.zeros(1, 32, 32, 3), "AI generated")


@torch.inference_mode()
def test_the_bench_keeps_one_stream_of_the_rendered_scenes(model):
    prompts = bench_prompts(2, DEVELOPMENT, strata=("single",))
    mask = keep_from_rendered(VIDEO, model, prompts)
    assert [m.unique().tolist() for m in mask.regenerate.both()] == [[0], [1]]
    variant = Variant("a", PerStreamCFG(1.0, 1.0), steps=2, normalise=False, keep=partial(keep_from_rendered, VIDEO))
    records = score_chunk(model, Probes.load(), prompts, variant)
    assert all(scores["kind_seen"] == 1 for _, scores in records), "the video is that of the true clips"
    independent = keep_from_independent(VIDEO, PerStreamCFG(1.0, 1.0), model, prompts)
    assert not torch.allclose(independent.latents.video, mask.latents.video, atol=0.1)


def test_the_adapter_suites_comparisons_refer_to_unique_variants():
    names = [variant.name for variant in VARIANTS]
    assert {name for pair in AGAINST for name in pair} <= set(names)
    assert len(set(names)) == len(names)
    strategies = {variant.name: variant.strategy for variant in VARIANTS}
    assert strategies["adapter-v2a"] == strategies["native-a2v"] == RECORD_UCG
    assert strategies["adapter-a2v-cfg"] == strategies["native-v2a-cfg"] == PLAIN_CFG
