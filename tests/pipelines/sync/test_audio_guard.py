"""The audio guard: target loudness, peaks, and defects in plain words."""

import pytest
import torch

from duet_av.pipelines.sync.audio_guard import guard

RATE = 16_000


def noise(scale, seconds=3):
    return scale * torch.randn(2, seconds * RATE, generator=torch.Generator().manual_seed(0))


def test_the_target_loudness_is_reached():
    found = guard(noise(0.01), sample_rate=RATE, target=-23.0)
    assert found.after.lufs == pytest.approx(-23, abs=0.1)
    assert found.defects == []


def test_without_a_target_quiet_audio_is_unchanged():
    quiet = noise(0.01)
    assert guard(quiet, sample_rate=RATE).waveform is quiet


def test_peaks_have_priority_over_the_target():
    found = guard(noise(0.01), sample_rate=RATE, target=-5.0)
    assert found.after.true_peak <= -0.99
    assert "target of -5 LUFS not reached" in str(found)


def test_silence_and_clipping_are_reported():
    assert "silence" in str(guard(torch.zeros(2, RATE), sample_rate=RATE, target=-16.0))
    assert "clipping" in str(guard(noise(2.0).clamp(-1, 1), sample_rate=RATE))


def test_a_burst_at_the_start_is_reported():
    waveform = noise(0.01)
    waveform[:, : RATE // 4] *= 20
    assert "possible burst" in str(guard(waveform, sample_rate=RATE))
    assert "possible burst" not in str(guard(waveform.flip(1), sample_rate=RATE))


def test_a_target_out_of_range_is_refused():
    with pytest.raises(ValueError, match="between -50 and -5"):
        guard(noise(0.01), sample_rate=RATE, target=3.0)
