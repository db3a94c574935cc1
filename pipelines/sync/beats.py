"""Onsets and beats of any audio, as times for events, and its envelope for drawing.

Beats: dynamic programming over the onset curve (Ellis, "Beat Tracking by Dynamic Programming", 2007). Letters: n ticks of the onset
curve, s samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .onsets import TICKS, sound_onsets
from .peaks import local_maxima, parabola_peak

USUAL_PERIOD = 0.5  # seconds between beats that is most likely: 120 beats a minute
PERIODS = (0.27, 1.2)  # shortest and longest seconds between beats
SPREAD = 0.9  # octaves: standard deviation of the usual period
STEADINESS = 100.0  # weight of a steady tempo against strong onsets
APART = 0.05  # seconds: of closer onsets, only the strongest counts
LEAST = 0.12  # share of the strongest onset below which a rise is not an onset
LEAD = 0.012  # seconds by which a rise precedes its onset, because the window reaches ahead; measured on clicks
FEWEST = 4  # onsets; fewer have no tempo


@dataclass(frozen=True)
class Rhythm:
    """Times in seconds. Without a tempo there are no ``beats``."""

    onsets: tuple[float, ...]
    beats: tuple[float, ...]


def rhythm(waveform: Float[Tensor, "channels s"], *, sample_rate: int) -> Rhythm:
    """Onsets and beats of a waveform."""
    if not waveform.numel() or not waveform.abs().max() > 0:
        return Rhythm((), ())
    rise = sound_onsets(waveform, sample_rate=sample_rate)
    onsets = _onsets(rise)
    return Rhythm(onsets, _beats(rise) if len(onsets) >= FEWEST else ())


def envelope(waveform: Float[Tensor, "channels s"], *, bins: int) -> list[float]:
    """The largest magnitude in each of at most ``bins`` equal parts, as shares of the largest of all."""
    peak = waveform.abs().amax(0) if waveform.numel() else torch.zeros(1)
    parts = F.adaptive_max_pool1d(peak[None].float(), min(bins, len(peak)))[0]
    return [round(value, 3) for value in (parts / parts.max().clamp_min(1e-9)).tolist()]


def _onsets(rise: Float[Tensor, " n"]) -> tuple[float, ...]:
    """Local maxima of the curve, refined between ticks."""
    floor = torch.maximum(LEAST * rise.max(), rise.mean() + 0.5 * rise.std(correction=0))
    padded = F.pad(rise, (1, 1))
    found = torch.nonzero(local_maxima(rise, reach=round(APART * TICKS)) & (rise > floor)).flatten().tolist()
    return tuple(_seconds(i + parabola_peak(*padded[i : i + 3].tolist())) for i in found)


def _seconds(tick: float | int) -> float:
    # The rise at tick i is that between the windows around i - 1 and i.
    return round(max(0.0, (tick - 0.5) / TICKS + LEAD), 3)


def _beats(rise: Float[Tensor, " n"]) -> tuple[float, ...]:
    """The sequence of ticks with the best sum of smoothed onsets and of steadiness, -log(gap / period)^2."""
    curve = _smoothed(rise)
    period = _period(curve)
    gaps = torch.arange(max(1, round(period / 2)), round(2 * period) + 1)
    steady = -STEADINESS * torch.log(gaps / period).square()
    total, before = curve.clone(), torch.full((len(curve),), -1)
    for t in range(int(gaps[0]), len(curve)):
        reach = gaps[gaps <= t]
        scores = total[t - reach] + steady[: len(reach)]
        best = int(scores.argmax())
        if scores[best] > 0:
            total[t], before[t] = curve[t] + scores[best], t - reach[best]
    last = max(0, len(curve) - round(period))
    ticks = [last + int(total[last:].argmax())]
    while (earlier := int(before[ticks[-1]])) >= 0:
        ticks.append(earlier)
    strong = [k for k, tick in enumerate(ticks) if curve[tick] > 0.5 * curve[ticks].mean()]
    # Before the first and after the last strong beat the sequence only continues into noise.
    return tuple(_seconds(tick) for tick in reversed(ticks[strong[0] : strong[-1] + 1])) if strong else ()


def _smoothed(rise: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The curve in units of its deviation, smoothed over some 20 ms, so that beats may be slightly off."""
    offsets = torch.arange(-5, 6)
    kernel = torch.exp(-0.5 * (offsets / 2.0) ** 2)
    curve = (rise - rise.mean()).clamp_min(0) / rise.std(correction=0).clamp_min(1e-9)
    return F.conv1d(curve[None, None], kernel[None, None], padding=5)[0, 0]


def _period(curve: Float[Tensor, " n"]) -> float:
    """Ticks between beats: the peak of the autocorrelation, weighted towards the usual period."""
    centred = curve - curve.mean()
    shortest, longest = (round(seconds * TICKS) for seconds in PERIODS)
    lags = torch.arange(shortest, min(longest, len(curve) - 2) + 1)
    if not len(lags):
        return USUAL_PERIOD * TICKS
    spectrum = torch.fft.rfft(centred, 2 * len(centred)).abs().square()
    products = torch.fft.irfft(spectrum)[lags]
    usual = torch.exp(-0.5 * (torch.log2(lags / (USUAL_PERIOD * TICKS)) / SPREAD) ** 2)
    scores = products * usual
    best = int(scores.argmax())
    inside = 0 < best < len(lags) - 1
    return float(lags[best]) + (parabola_peak(*scores[best - 1 : best + 2].tolist()) if inside else 0.0)
