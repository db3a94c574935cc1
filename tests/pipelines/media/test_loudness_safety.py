"""Nothing that is written is louder than a true peak of -1 dB, whatever latents a sampler produces."""

import pytest
import torch

from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.media.limiter import CEILING, true_peaks
from duet_av.pipelines.media.mp4 import write_mp4
from duet_av.pipelines.media.sound import read_sound, write_wav
from duet_av.pipelines.models.pocket.load import load_audio_codec


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
    frames = torch.zeros(16, 32, 32, 3)
    write_wav(tmp_path / "out.wav", waveform, codec.sample_rate)
    write_mp4(tmp_path / "out.mp4", Clip(frames, 16.0, waveform, codec.sample_rate))
    ceiling = 10 ** (CEILING / 20)
    for name, tolerance in (("out.wav", 1e-4), ("out.mp4", 1e-3)):
        sound, _ = read_sound(tmp_path / name)
        assert float(true_peaks(sound).amax()) <= ceiling + tolerance, name


@pytest.mark.parametrize("channels", [1, 6, 7, 8])
def test_noise_in_any_layout_stays_below_the_ceiling(tmp_path, channels):
    noise = torch.randn(channels, 16_000, generator=torch.Generator().manual_seed(channels))
    write_mp4(tmp_path / "out.mp4", Clip(torch.zeros(16, 32, 32, 3), 16.0, noise, 16_000))
    sound, _ = read_sound(tmp_path / "out.mp4")
    assert sound.shape[0] == channels
    assert float(true_peaks(sound).amax()) <= 10 ** (CEILING / 20) + 1e-3
