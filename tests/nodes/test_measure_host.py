"""Measuring clips inside a real ComfyUI, as the host's own nodes output them."""

import re
from fractions import Fraction

import pytest
import torch

from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.world import irregular, make_scene, render_picture, render_sound

SHAPE = ClipShape(seconds=8.0)


@pytest.fixture
def clip(comfy):
    scene = irregular(make_scene(21, 0, stratum="single", seconds=8.0))
    sound = render_sound([scene], samples=SHAPE.samples, sample_rate=SHAPE.sample_rate)
    return render_picture([scene], SHAPE)[0].permute(0, 2, 3, 1), {"waveform": sound, "sample_rate": SHAPE.sample_rate}


def test_late_audio_is_measured_and_corrected(run, clip):
    images, sound = clip
    late = run("DuetShiftAudio", sound, -200.0)[0]
    offset, evidence, report, picture = run("DuetSyncMeter", images, late, 16.0)
    assert evidence
    assert offset == pytest.approx(200, abs=62.5)
    assert "LUFS" in report
    assert picture.shape[-1] == 3
    back = run("DuetShiftAudio", late, offset)[0]
    assert back["waveform"].shape == sound["waveform"].shape
    assert abs(run("DuetSyncMeter", images, back, 16.0)[0]) <= 62.5


def test_no_evidence_is_reported(run, clip):
    images, sound = clip
    offset, evidence, report, _ = run("DuetSyncMeter", images[:1].expand(64, -1, -1, -1), sound, 16.0)
    assert (offset, evidence) == (0.0, False)
    assert report.startswith("no evidence: nothing moves")


def test_audio_of_stock_nodes_is_accepted(run, comfy, clip):
    images, sound = clip
    mono = {
        "waveform": torch.nn.functional.interpolate(sound["waveform"].mean(1, keepdim=True), scale_factor=3.0),
        "sample_rate": 48_000,
    }
    assert run("DuetSyncMeter", images, mono, 16.0)[1]
    with_alpha = torch.cat([images, torch.ones_like(images[..., :1])], dim=-1)
    assert run("DuetSyncMeter", with_alpha, sound, 16.0)[1]


@pytest.fixture(scope="module")
def short():
    """Two seconds of a single object: frames [32, 64, 64, 3] and stereo audio at 16 kHz."""
    shape = ClipShape()
    scene = make_scene(21, 3, stratum="single")
    sound = render_sound([scene], samples=shape.samples, sample_rate=shape.sample_rate)
    frames = render_picture([scene], shape)[0].permute(0, 2, 3, 1)
    return frames, {"waveform": sound, "sample_rate": shape.sample_rate}


def video_of(images, audio, fps):
    from comfy_api.latest import InputImpl, Types

    return InputImpl.VideoFromComponents(
        Types.VideoComponents(images=images, audio=audio, frame_rate=Fraction(fps).limit_denominator(1001))
    )


def enlarged(images, factor):
    return images.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def test_a_video_is_measured_at_its_own_rates(run, clip):
    images, sound = clip
    late = run("DuetShiftAudio", sound, -200.0)[0]
    by_parts, by_video = (
        run("DuetSyncMeter", images, late, 16.0),
        run("DuetSyncMeter", video=video_of(images, late, 16), fps=5.0),
    )
    assert by_video[:3] == by_parts[:3]


def test_the_audio_of_a_video_is_shifted(run, clip):
    images, sound = clip
    audio, video = run("DuetShiftAudio", video=video_of(images, sound, 16), late_ms=150.0)
    assert torch.equal(audio["waveform"], run("DuetShiftAudio", sound, 150.0)[0]["waveform"])
    parts = video.get_components()
    assert torch.equal(parts.audio["waveform"], audio["waveform"])
    assert (len(parts.images), float(parts.frame_rate)) == (len(images), 16.0)
    blocked = run("DuetShiftAudio", sound, 150.0)[1]
    assert "only if one is connected" in blocked.message


def test_a_shifted_video_is_limited(run, clip):
    images, sound = clip
    loud = {**sound, "waveform": 3 * sound["waveform"]}
    audio, _ = run("DuetShiftAudio", video=video_of(images, loud, 16), late_ms=50.0)
    assert float(audio["waveform"].abs().max()) <= 10 ** (-1 / 20) * 1.001
    assert float(loud["waveform"].abs().max()) > 1


@pytest.mark.parametrize("node", ["DuetSyncMeter", "DuetTimelinePlot"])
def test_a_clip_is_connected_once_and_completely(run, short, node):
    images, sound = short
    with pytest.raises(ValueError, match=r"images and audio missing\. Connect either a video, or images and audio"):
        run(node)
    with pytest.raises(ValueError, match="No clip is connected: audio missing"):
        run(node, images)
    with pytest.raises(ValueError, match="Both a video and images or audio"):
        run(node, images, sound, video=video_of(images, sound, 16))
    for both in ({}, {"audio": sound, "video": video_of(images, sound, 16)}):
        with pytest.raises(ValueError, match="either an audio or a video"):
            run("DuetShiftAudio", **both)


@pytest.mark.parametrize("change", ["none", "enlarged", "another frame rate", "mono at 48 kHz", "saved and loaded"])
def test_the_probes_find_the_same_events_at_any_size_and_rate(run, short, tmp_path, change):
    from comfy_api.latest import InputImpl

    images, sound = short
    plot = {"title": "", "events": "pocket world"}
    expected = run("DuetTimelinePlot", images, sound, 16.0, **plot)[1]
    fps = 16
    if change in ("enlarged", "saved and loaded"):
        images = enlarged(images, 8)
    if change == "another frame rate":
        images, fps = images.repeat_interleave(2, 0), 32
    if change == "mono at 48 kHz":
        mono = torch.nn.functional.interpolate(sound["waveform"].mean(1, keepdim=True), scale_factor=3.0)
        sound = {"waveform": mono, "sample_rate": 48_000}
    video = video_of(images, sound, fps)
    if change == "saved and loaded":
        video.save_to(str(tmp_path / "clip.mp4"))
        video = InputImpl.VideoFromFile(str(tmp_path / "clip.mp4"))
    found = run("DuetTimelinePlot", video=video, **plot)[1]
    f1 = [float(re.search(r"F1 ([\d.]+)", text)[1]) for text in (expected, found)]
    assert f1 == [1.0, 1.0]


def test_the_probes_warn_about_clips_that_are_not_of_the_pocket_world(shown, short):
    images, sound = short
    events = {"title": "", "events": "pocket world"}
    assert "not reliable" not in shown("DuetTimelinePlot", enlarged(images, 8), sound, 16.0, **events)
    noise = torch.rand(48, 90, 160, 3, generator=torch.Generator().manual_seed(0))
    assert "not reliable" in shown("DuetTimelinePlot", noise, sound, 24.0, **events)
    assert shown("DuetTimelinePlot", noise, sound, 24.0, "", "none") == ""


def test_a_silent_video_is_plotted_and_reported(run, short):
    video = video_of(short[0], None, 16)
    assert "has no audio" in run("DuetSyncMeter", video=video)[2]
    assert run("DuetTimelinePlot", video=video, events="pocket world")[0].ndim == 4


def test_the_audio_guard_adjusts_loudness_and_reports_defects(run, comfy):
    loud = {"waveform": torch.randn(2, 2, 48_000), "sample_rate": 16_000}
    audio, report = run("DuetAudioGuard", loud, -16.0)
    assert audio["waveform"].shape == loud["waveform"].shape
    assert "-16.0 LUFS" in report
    assert "clipping" in report
    quiet = {"waveform": 0.01 * torch.randn(1, 2, 48_000), "sample_rate": 16_000}
    assert torch.equal(run("DuetAudioGuard", quiet, 0.0)[0]["waveform"], quiet["waveform"])


def test_mux_changes_loudness_only_if_a_target_is_set(run, short):
    images, audio = short
    plain, louder = (
        run("DuetMux", images, audio, 16.0, 1, None, "", target)[0].get_components() for target in (0.0, -20.0)
    )
    assert torch.equal(plain.audio["waveform"], audio["waveform"])
    assert not torch.equal(louder.audio["waveform"], audio["waveform"])


def test_synchformer_reports_beside_the_meter(run, comfy, clip, tmp_path, monkeypatch):
    import folder_paths

    from duet_av.pipelines.sync import desync
    from duet_av.pipelines.sync.synchformer import Synchformer, SynchformerConfig

    small = SynchformerConfig(channels=24, encoder_depth=2, encoder_heads=2, depth=1, heads=2)
    load = desync.load_synchformer
    monkeypatch.setattr(desync, "load_synchformer", lambda path: load(path, small))
    folder_paths.add_model_folder_path("duet", str(tmp_path))
    torch.save(Synchformer(small).state_dict(), tmp_path / "synchformer_state_dict.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "another_synchformer.pth")
    choices = comfy.pack["DuetSyncMeter"].define_schema().inputs[-1].options
    assert {"none", "synchformer_state_dict.pth", "another_synchformer.pth"} <= set(choices)
    plain, both = (run("DuetSyncMeter", *clip, 16.0, None, choice) for choice in ("none", "synchformer_state_dict.pth"))
    assert both[0] == plain[0]
    assert both[2].startswith(plain[2])
    assert "Synchformer: audio" in both[2]
    with pytest.raises(ValueError, match=r"another_synchformer\.pth: not Synchformer's weights"):
        run("DuetSyncMeter", *clip, 16.0, None, "another_synchformer.pth")
