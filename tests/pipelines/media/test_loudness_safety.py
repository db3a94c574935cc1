"""Nothing that is written is louder than a true peak of -1 dB, whatever latents a sampler produces and whatever audio is given."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.media.limiter import CEILING, true_peaks
from duet_av.pipelines.media.mp4 import write_mp4, write_parts
from duet_av.pipelines.media.sound import read_sound, write_wav
from duet_av.pipelines.models.pocket.load import load_audio_codec

HIGHEST = 10 ** (CEILING / 20)
FRAMES = torch.zeros(16, 32, 32, 3)
KINDS = ("noise", "square", "between samples", "clicks", "bursts", "steady")


def hostile_sound(kind, *, rate, gain, seed, channels=2):
    """One second of audio that encoders and limiters find difficult, with a peak of about ``gain``."""
    generator, n = torch.Generator().manual_seed(seed), rate
    time, noise = torch.arange(n) / rate, torch.randn(channels, n, generator=generator)
    made = {
        "noise": noise / 3,
        "square": torch.sign(torch.sin(2 * math.pi * (200 + seed % 3000) * time)).expand(channels, n),
        "between samples": 1.4 * torch.sin(2 * math.pi * rate / 4 * time + math.pi / 4).expand(channels, n),
        "clicks": (noise > 3).float(),
        "bursts": noise / 3 * (time % 0.25 < 0.05),
        "steady": torch.ones(channels, n),
    }
    return gain * made[kind]


def peak_of(path):
    return float(true_peaks(read_sound(path)[0]).amax())


@pytest.fixture(scope="module")
def codec():
    return load_audio_codec()


@pytest.mark.parametrize("seed", range(8))
def test_decoded_random_latents_stay_below_the_ceiling_in_files(codec, tmp_path, seed):
    generator = torch.Generator().manual_seed(seed)
    scale = 0.5 * 2 ** (seed % 4)  # up to four times the deviation of true latents
    latent = scale * torch.randn(1, codec.channels, 16, generator=generator)
    if seed % 2:
        latent = latent.cumsum(-1) / 2  # slow changes: long loud sounds
    with torch.inference_mode():
        waveform = codec.decode(latent)[0]
    write_wav(tmp_path / "out.wav", waveform, codec.sample_rate)
    write_mp4(tmp_path / "out.mp4", Clip(FRAMES, 16.0, waveform, codec.sample_rate))
    assert peak_of(tmp_path / "out.wav") <= HIGHEST + 1e-4
    assert peak_of(tmp_path / "out.mp4") <= HIGHEST + 1e-3


@pytest.mark.parametrize("channels", [1, 6, 7, 8])
def test_noise_in_any_layout_stays_below_the_ceiling(tmp_path, channels):
    noise = torch.randn(channels, 16_000, generator=torch.Generator().manual_seed(channels))
    write_mp4(tmp_path / "out.mp4", Clip(FRAMES, 16.0, noise, 16_000))
    assert read_sound(tmp_path / "out.mp4")[0].shape[0] == channels
    assert peak_of(tmp_path / "out.mp4") <= HIGHEST + 1e-3


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(KINDS), st.sampled_from([16_000, 24_000, 44_100, 48_000]), st.floats(0.3, 30), st.integers(0, 999)
)
def test_hostile_audio_stays_below_the_ceiling_in_every_format(tmp_path, kind, rate, gain, seed):
    sound = hostile_sound(kind, rate=rate, gain=gain, seed=seed)
    write_wav(tmp_path / "out.wav", sound, rate)
    halves = [Clip(FRAMES[:8], 16.0, half, rate) for half in sound.split(rate // 2, dim=1)]
    write_parts(tmp_path / "parts.mp4", halves)
    assert peak_of(tmp_path / "out.wav") <= HIGHEST + 1e-4
    assert peak_of(tmp_path / "parts.mp4") <= HIGHEST + 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("command", [("generate", "--audio"), ("extend", "--clip")])
def test_a_loud_recording_that_a_command_keeps_is_limited(tmp_path, command):
    name, option = command
    sound = hostile_sound("square", rate=44_100, gain=1.0, seed=797).repeat(1, 2)
    given = tmp_path / ("in.wav" if name == "generate" else "in.mkv")
    write_loud(given, sound, 44_100)
    assert peak_of(given) > 1
    words = [name, "a red ball bounces", option, str(given), "--steps", "1", "--form", "cfg", "--cfg", "1", "--anyway"]
    more = ["--seconds", "3"] if name == "extend" else []
    assert main([*words, *more, "-o", str(tmp_path / "out.mp4")]) == 0
    assert peak_of(tmp_path / "out.mp4") <= HIGHEST + 1e-3


def write_loud(path, sound, rate):
    """A file that holds ``sound`` unlimited; a name in .mkv also holds two seconds of a picture."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=16) if path.suffix == ".mkv" else None
        audio = container.add_stream("pcm_s16le", rate=rate, layout="stereo")
        if video is not None:
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
            for _ in range(32):
                container.mux(video.encode(av.VideoFrame.from_ndarray(torch.zeros(64, 64, 3).byte().numpy(), "rgb24")))
            container.mux(video.encode(None))
        pcm = (sound.clamp(-1, 1) * 32767).to(torch.int16).T.reshape(1, -1).contiguous().numpy()
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="stereo")
        frame.sample_rate = rate
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
