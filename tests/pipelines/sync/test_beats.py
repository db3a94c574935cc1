"""Onsets and beats of clicks at known times."""

import pytest
import torch

from duet_av.pipelines.sync.beats import Rhythm, envelope, rhythm


def clicks(times, *, seconds, rate, noise=0.003):
    """Decaying tones that begin at ``times``, over noise."""
    out = noise * torch.randn(2, round(seconds * rate), generator=torch.Generator().manual_seed(0))
    n = torch.arange(round(0.05 * rate)) / rate
    tone = torch.exp(-n / 0.01) * torch.sin(2 * torch.pi * 1000 * n)
    for time in times:
        start = round(time * rate)
        out[:, start : start + len(tone)] += tone[: out.shape[1] - start]
    return out


@pytest.mark.parametrize("bpm", [60, 90, 128, 160])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_beats_of_a_steady_pulse_are_found_within_10_ms(bpm, rate):
    times = [0.3 + 60 / bpm * k for k in range(int(14 * bpm / 60))]
    found = rhythm(clicks(times, seconds=15, rate=rate), sample_rate=rate)
    for events in (found.onsets, found.beats):
        assert len(events) == len(times)
        assert max(abs(a - b) for a, b in zip(events, times, strict=True)) < 0.01


def test_a_missing_beat_is_filled_in_but_is_no_onset():
    times = [0.5 * k + 0.2 for k in range(20) if k != 9]
    found = rhythm(clicks(times, seconds=10.5, rate=16_000), sample_rate=16_000)
    assert len(found.onsets) == 19
    assert min(abs(beat - 4.7) for beat in found.beats) < 0.05
    assert min(abs(onset - 4.7) for onset in found.onsets) > 0.4


def test_irregular_onsets_are_found_within_10_ms():
    times = [0.2, 0.55, 1.13, 1.7]
    found = rhythm(clicks(times, seconds=2, rate=48_000, noise=0), sample_rate=48_000)
    assert len(found.onsets) == 4
    assert max(abs(a - b) for a, b in zip(found.onsets, times, strict=True)) < 0.01


@pytest.mark.parametrize("waveform", [torch.zeros(2, 0), torch.zeros(1, 16_000), torch.zeros(1, 1)])
def test_silence_has_no_rhythm(waveform):
    assert rhythm(waveform, sample_rate=16_000) == Rhythm((), ())


def test_a_few_samples_have_no_beats():
    assert rhythm(torch.randn(1, 100, generator=torch.Generator().manual_seed(0)), sample_rate=16_000).beats == ()


def test_the_envelope_is_relative_and_bounded():
    wave = torch.zeros(2, 1000)
    wave[1, 250], wave[0, 750] = -0.5, 0.25
    assert envelope(wave, bins=4) == [0.0, 1.0, 0.0, 0.5]
    assert envelope(torch.zeros(1, 3), bins=10) == [0.0, 0.0, 0.0]
    assert envelope(torch.zeros(2, 0), bins=10) == [0.0]
