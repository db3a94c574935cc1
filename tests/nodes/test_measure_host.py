"""Measuring clips inside a real ComfyUI, as the host's own nodes output them."""

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
