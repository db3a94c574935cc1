"""True peak of audio (ITU-R BS.1770-4, annex 2) and the limiter that every audio output passes through."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

CEILING = -1.0  # dB relative to full scale, true peak; nothing that is written exceeds it
LOOK_AHEAD = 0.005  # seconds before and after a peak in which the gain is reduced and released
OVERSAMPLING = 4
REACH = 32  # samples before and after a point from which its value is interpolated
CHUNK = 1 << 19  # samples processed at once, so that memory does not grow with the duration
ROUNDING = 1 + 1e-5  # relative tolerance, so that limited audio is not limited again


def true_peaks(waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, " samples"]:
    """Largest magnitude of any channel at each sample and at the interpolated points up to the next one; 1 is full scale."""
    padded = F.pad(waveform.float(), (REACH - 1, REACH))
    starts = range(0, waveform.shape[1], CHUNK)
    return torch.cat([true_peaks_inside(padded[:, start : start + CHUNK + 2 * REACH - 1]) for start in starts])


def true_peaks_inside(padded: Float[Tensor, "channels padded"]) -> Float[Tensor, " samples"]:
    """``true_peaks`` of the samples that have ``REACH - 1`` samples before them and ``REACH`` behind them."""
    return F.conv1d(padded[:, None], _interpolation().to(padded.device)[:, None]).abs().amax(dim=(0, 1))


def limit_peaks(
    waveform: Float[Tensor, "channels samples"], *, sample_rate: int, ceiling: float = CEILING
) -> Float[Tensor, "channels samples"]:
    """``waveform`` with its gain reduced around peaks so that the true peak is at most ``ceiling`` dB, equally in all channels.
    Audio below the ceiling is returned unchanged.

    Raises:
        ValueError: values that are not finite.
    """
    if waveform.shape[1] == 0:
        return waveform
    if not bool(torch.isfinite(waveform).all()):
        raise ValueError(
            "The audio contains values that are not finite (NaN or infinity). Sample the clip again with a lower guidance scale."
        )
    highest = 10 ** (ceiling / 20)
    peaks = true_peaks(waveform)
    if float(peaks.amax()) <= highest * ROUNDING:
        return waveform
    half = max(1, round(LOOK_AHEAD * sample_rate / 2))
    gain = -F.max_pool1d(-(highest / peaks.clamp_min(highest))[None], 4 * half + 1, stride=1, padding=2 * half)
    for _ in range(2):  # the mean of minima over a window never exceeds the gain that its centre requires
        gain = F.avg_pool1d(F.pad(gain, (half, half), mode="replicate"), 2 * half + 1, stride=1)
    limited = waveform * gain
    # A changing gain moves the values between samples slightly.
    rest = float(true_peaks(limited).amax())
    return limited * (highest / rest) if rest > highest else limited


@cache
def _interpolation() -> Float[Tensor, "phases taps"]:
    """Windowed-sinc filters, one for each point between two samples; the first returns the sample itself."""
    phase = torch.arange(OVERSAMPLING, dtype=torch.float64)[:, None] / OVERSAMPLING
    distance = torch.arange(1 - REACH, REACH + 1, dtype=torch.float64) - phase
    window = torch.cos(math.pi * distance / (2 * REACH)).clamp_min(0)
    return (torch.sinc(distance) * window).float()
