"""mp4 files: round trips, interrupted writes, foreign files, and conforming to a clip's rates and size."""

import math

import av
import pytest
import torch

from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.media.conform import read_conformed
from duet_av.pipelines.media.enlarge import enlarge, watchable_factor
from duet_av.pipelines.media.mp4 import read_mp4, write_mp4
from duet_av.pipelines.media.sound import fit_sound, resample


@pytest.fixture
def clip():
    t = torch.arange(32_000) / 16_000
    tone = 0.5 * torch.sin(2 * math.pi * 440 * t)
    shade = torch.linspace(0, 1, 32)[:, None, None, None].expand(-1, 64, 64, 3)
    return Clip(shade, 16.0, torch.stack([tone, tone]), 16_000)


def test_mp4_uses_widely_supported_codecs(clip, tmp_path):
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


def test_frames_and_waveform_survive_a_round_trip(clip, tmp_path):
    write_mp4(tmp_path / "clip.mp4", clip)
    back = read_mp4(tmp_path / "clip.mp4")
    assert (back.frames[:, ::8, ::8] - clip.frames).abs().mean() < 0.02
    assert abs(back.waveform.shape[1] / 16_000 - 2.0) <= 1024 / 16_000
    assert abs(back.waveform[0].std() - clip.waveform[0].std()) < 0.02


@pytest.mark.parametrize("samples", [1_000, 32_000, 40_000])
def test_audio_is_fitted_to_the_duration(samples):
    assert fit_sound(torch.ones(2, samples), seconds=2.0, sample_rate=16_000).shape == (2, 32_000)


def test_only_audio_above_full_scale_is_scaled_down():
    loud, quiet = torch.tensor([[4.0, -2.0]]), torch.tensor([[0.5, -0.25]])
    assert torch.equal(fit_sound(loud, seconds=2.0, sample_rate=1), loud / 4)
    assert torch.equal(fit_sound(quiet, seconds=2.0, sample_rate=1), quiet)


def test_enlarging_keeps_pixels_square():
    assert [watchable_factor(*size) for size in ((64, 96), (64, 64), (300, 600), (1024, 1024))] == [8, 8, 1, 1]
    assert enlarge(torch.zeros(1, 64, 96, 3), 8).shape == (1, 512, 768, 3)


def test_enlarging_is_smooth_and_keeps_the_mean():
    edge = torch.zeros(1, 8, 8, 3)
    edge[:, :, 4:] = 1
    large = enlarge(edge, 8)
    assert large.diff(dim=2).abs().max() < 0.2  # a block's edge would be a step of 1
    assert large.mean() == pytest.approx(0.5, abs=1e-3)
    assert 0 <= large.min() <= large.max() <= 1
    assert enlarge(edge, 1) is edge


def test_clip_with_values_that_are_not_finite_is_refused(clip, tmp_path):
    broken = Clip(clip.frames * torch.nan, clip.fps, clip.waveform, clip.sample_rate)
    with pytest.raises(ValueError, match="not finite"):
        write_mp4(tmp_path / "clip.mp4", broken)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_write_leaves_only_the_earlier_file(clip, tmp_path, monkeypatch, interruption):
    write_mp4(tmp_path / "clip.mp4", clip)
    before = (tmp_path / "clip.mp4").read_bytes()

    def interrupted(*_args):
        raise interruption

    monkeypatch.setattr("duet_av.pipelines.media.mp4._write_streams", interrupted)
    with pytest.raises((KeyboardInterrupt, OSError)):
        write_mp4(tmp_path / "clip.mp4", clip)
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a film", b"\x00" * 4096])
def test_files_that_are_not_media_are_refused(tmp_path, content):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"film\.mp4 cannot be read"):
        read_mp4(path)


def test_conforming_preserves_the_timing_of_events(tmp_path):
    """A flash and a click at one second, at 30 fps, 44.1 kHz and 96 x 48, come out at one second."""
    frames, waveform = torch.zeros(60, 48, 96, 3), torch.zeros(2, 88_200)
    frames[30:33], waveform[:, 44_100:44_500] = 1.0, 0.8
    write_mp4(tmp_path / "c.mp4", Clip(frames, 30.0, waveform, 44_100))
    clip = read_conformed(tmp_path / "c.mp4", ClipShape())
    assert (clip.frames.shape, clip.waveform.shape) == ((32, 64, 64, 3), (2, 32_000))
    bright = clip.frames.mean((1, 2, 3))
    assert bright.argmax().item() in (16, 17)
    loud = clip.waveform.abs().mean(0).unfold(0, 400, 400).mean(1)
    assert loud.argmax().item() * 400 / 16_000 == pytest.approx(1.0, abs=0.03)


def test_file_without_audio_is_refused(tmp_path):
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width = stream.height = 64
        picture = av.VideoFrame.from_ndarray(torch.zeros(64, 64, 3, dtype=torch.uint8).numpy(), format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match="no audio stream"):
        read_conformed(tmp_path / "mute.mp4", ClipShape())


@pytest.mark.parametrize("channels", range(1, 9))
def test_any_number_of_channels_is_mixed_to_stereo(channels):
    assert resample(torch.rand(channels, 16_000), rate=16_000, to=48_000).shape[0] == 2
