"""The mp4: what is written is what was given, and nothing is left half-written."""

import math

import av
import pytest
import torch

from duet_av.pipelines.media import fit_sound, read_mp4, upscaled, write_mp4
from duet_av.pipelines.streams import Clip


@pytest.fixture
def clip():
    t = torch.arange(32_000) / 16_000
    tone = 0.5 * torch.sin(2 * math.pi * 440 * t)
    shade = torch.linspace(0, 1, 32)[:, None, None, None].expand(-1, 64, 64, 3)
    return Clip(shade, 16.0, torch.stack([tone, tone]), 16_000)


def test_the_file_plays_everywhere(clip, tmp_path):
    write_mp4(tmp_path / "clip.mp4", clip)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (audio.codec_context.name, audio.codec_context.sample_rate, audio.codec_context.channels) == (
            "aac",
            16_000,
            2,
        )
        assert (video.width, video.height, video.frames) == (512, 512, 32)


def test_pictures_and_sound_come_back(clip, tmp_path):
    write_mp4(tmp_path / "clip.mp4", clip)
    back = read_mp4(tmp_path / "clip.mp4")
    assert (back.frames[:, ::8, ::8] - clip.frames).abs().mean() < 0.02
    assert abs(back.waveform.shape[1] / 16_000 - 2.0) <= 1024 / 16_000
    assert abs(back.waveform[0].std() - clip.waveform[0].std()) < 0.02


@pytest.mark.parametrize("samples", [1_000, 32_000, 40_000])
def test_sound_is_fitted_to_the_picture(samples):
    assert fit_sound(torch.ones(2, samples), seconds=2.0, sample_rate=16_000).shape == (2, 32_000)


def test_loud_sound_is_scaled_down_and_quiet_sound_is_left():
    loud, quiet = torch.tensor([[4.0, -2.0]]), torch.tensor([[0.5, -0.25]])
    assert torch.equal(fit_sound(loud, seconds=2.0, sample_rate=1), loud / 4)
    assert torch.equal(fit_sound(quiet, seconds=2.0, sample_rate=1), quiet)


def test_enlarging_keeps_pixels_square():
    assert upscaled(torch.zeros(1, 64, 96, 3)).shape == (1, 512, 768, 3)
    assert upscaled(torch.zeros(1, 1024, 1024, 3)).shape == (1, 1024, 1024, 3)


def test_a_clip_that_is_not_finite_is_refused(clip, tmp_path):
    broken = Clip(clip.frames * torch.nan, clip.fps, clip.waveform, clip.sample_rate)
    with pytest.raises(ValueError, match="not finite"):
        write_mp4(tmp_path / "clip.mp4", broken)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_leaves_the_finished_file_and_nothing_else(clip, tmp_path, monkeypatch, interruption):
    write_mp4(tmp_path / "clip.mp4", clip)
    before = (tmp_path / "clip.mp4").read_bytes()

    def interrupted(*_args):
        raise interruption

    monkeypatch.setattr("duet_av.pipelines.media._write_streams", interrupted)
    with pytest.raises((KeyboardInterrupt, OSError)):
        write_mp4(tmp_path / "clip.mp4", clip)
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a film", b"\x00" * 4096])
def test_foreign_media_get_a_clear_error(tmp_path, content):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"film\.mp4 cannot be read"):
        read_mp4(path)
