"""The limiter: nothing that is written exceeds a true peak of -1 dB, and audio below it is unchanged."""

import math
import wave

import pytest
import torch

from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.media.limiter import CEILING, limit_peaks, true_peaks
from duet_av.pipelines.media.mp4 import read_mp4, write_mp4
from duet_av.pipelines.media.sound import write_wav
from duet_av.pipelines.sync.loudness import loudness

RATE = 16_000


def noise(seed, scale, samples=RATE):
    return scale * torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))


def independent_peak(waveform):
    """True peak in dB by an eightfold Fourier interpolation of the zero-padded waveform."""
    padded = torch.nn.functional.pad(waveform.double(), (500, 500))
    up = torch.fft.irfft(torch.fft.rfft(padded), 8 * padded.shape[1]) * 8
    return 20 * math.log10(float(up.abs().amax()))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("scale", [0.3, 1.0, 8.0])
def test_random_audio_stays_below_the_ceiling(seed, scale):
    spectrum = torch.fft.rfft(noise(seed, scale))
    spectrum[:, round(0.9 * spectrum.shape[1]) :] = (
        0  # recordings contain almost nothing just below the Nyquist frequency
    )
    limited = limit_peaks(torch.fft.irfft(spectrum, RATE), sample_rate=RATE)
    assert loudness(limited, sample_rate=RATE).true_peak <= CEILING + 1e-3
    assert independent_peak(limited) <= CEILING + 0.3


def test_audio_below_the_ceiling_is_unchanged():
    quiet = noise(0, 0.05)
    assert limit_peaks(quiet, sample_rate=RATE) is quiet


def test_limited_audio_is_not_limited_again():
    once = limit_peaks(noise(1, 1.0), sample_rate=RATE)
    assert torch.equal(limit_peaks(once, sample_rate=RATE), once)


def test_the_gain_is_reduced_only_around_a_peak_and_never_clips():
    waveform = noise(2, 0.05)
    waveform[:, 8000] = 3.0
    limited = limit_peaks(waveform, sample_rate=RATE)
    rest = (limited / waveform)[:, :7000]
    assert (rest - rest[0, 0]).abs().max() < 1e-5
    assert rest[0, 0] > 0.95


def test_a_peak_between_two_samples_is_found():
    time = torch.arange(RATE) + 0.5
    tone = torch.sin(math.pi * time / 2)[None] * 1.2  # samples at 0.85, peaks at 1.2 between them
    assert float(tone.abs().max()) < 0.9
    assert float(true_peaks(tone)[100:-100].max()) == pytest.approx(1.2, rel=0.01)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        limit_peaks(torch.full((2, 10), value), sample_rate=RATE)


def test_an_encoded_file_stays_below_the_ceiling_and_only_its_peaks_are_reduced(tmp_path):
    """AAC changes peaks; clicks, a loud tone with decays and a chord, all far above full scale."""
    time = torch.arange(2 * 48_000) / 48_000
    decays = torch.exp(-20 * (time % 0.4)) * torch.sin(2 * math.pi * 700 * time)
    chord = sum(torch.sin(2 * math.pi * f * time) for f in (220, 277, 330))
    clicks = torch.sin(2 * math.pi * 90 * time) * 0.3 + (time % 0.25 < 0.001) * 2.0
    for k, wave_form in enumerate((1.8 * decays, 0.7 * torch.as_tensor(chord), clicks)):
        clip = Clip(torch.zeros(32, 16, 16, 3), 16.0, wave_form[None], 48_000)
        write_mp4(tmp_path / f"{k}.mp4", clip)
        back = read_mp4(tmp_path / f"{k}.mp4").waveform
        assert loudness(back, sample_rate=48_000).true_peak <= CEILING
    between = (time % 0.25 >= 0.1) & (time % 0.25 < 0.2)
    before, after = (float(x[: len(time)][between].square().mean()) for x in (clicks, back[0]))
    assert after == pytest.approx(before, rel=0.1), "the clip is not scaled down as a whole"


def test_a_written_wav_file_stays_below_the_ceiling(tmp_path):
    write_wav(tmp_path / "loud.wav", noise(3, 4.0), RATE)
    with wave.open(str(tmp_path / "loud.wav")) as file:
        pcm = torch.frombuffer(bytearray(file.readframes(RATE)), dtype=torch.int16).reshape(-1, 2).T / 32767
    assert loudness(pcm.float(), sample_rate=RATE).true_peak <= CEILING + 0.01
