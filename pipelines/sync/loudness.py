"""Loudness according to ITU-R BS.1770-4 and EBU R 128, true peak, clipping and silence.

Letters: c channels, s samples, h hops, f frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ..media.limiter import true_peaks

BLOCK, OVERLAP = 0.4, 0.75  # seconds of a gating block, and the overlap of blocks as a share
ABSOLUTE, RELATIVE = -70.0, -10.0  # gates: LUFS, and LU below the ungated mean
OFFSET = -0.691  # LUFS; constant of the loudness scale
SURROUND = 1.41  # weight of the channels behind the listener, in 5.0 and 5.1
FULL_SCALE = 0.999  # magnitude from which samples count as clipped
QUIET = -60.0  # dB relative to full scale; below it counts as silence
CHUNK = 10.0  # seconds processed at once
Taps = tuple[float, float, float]


@dataclass(frozen=True)
class Loudness:
    """Loudness, peak level and defects of a waveform."""

    lufs: float | None  # integrated loudness; None if everything is below the absolute gate
    true_peak: float  # dB relative to full scale
    clipped: int  # number of runs of at least three samples at full scale
    silent: float  # share of the duration, 0..1


def loudness(waveform: Float[Tensor, "c s"], *, sample_rate: int) -> Loudness:
    """Loudness and defects of a waveform.

    Raises:
        ValueError: the waveform is empty.
    """
    if waveform.shape[1] == 0:
        raise ValueError("The audio has no samples, so its loudness cannot be measured.")
    peak = float(true_peaks(waveform).amax())
    return Loudness(
        integrated(waveform, sample_rate=sample_rate),
        20 * math.log10(max(peak, 1e-9)),
        _clipped_runs(waveform),
        _silent_share(waveform, sample_rate=sample_rate),
    )


def integrated(waveform: Float[Tensor, "c s"], *, sample_rate: int) -> float | None:
    """Integrated (gated) loudness in LUFS, or None if everything is below the absolute gate."""
    hop = round(BLOCK * (1 - OVERLAP) * sample_rate)
    each = round(1 / (1 - OVERLAP))  # hops in a block
    missing = max(0, each * hop - waveform.shape[1])
    waveform = torch.nn.functional.pad(waveform, (0, missing)) if missing else waveform
    power = torch.cat(list(_hop_powers(waveform, hop, sample_rate=sample_rate)), dim=1).unfold(1, each, 1).mean(-1)
    weights = torch.ones(len(power), dtype=power.dtype)
    if len(power) >= 5:  # channel order: left, right, centre, (LFE,) two surround channels
        weights[-2:] = SURROUND
        weights[3] = 0.0 if len(power) == 6 else weights[3]
    blocks = (weights[:, None] * power).sum(0)
    level = OFFSET + 10 * torch.log10(blocks.clamp_min(1e-12))
    kept = blocks[level > ABSOLUTE]
    if len(kept) == 0:
        return None
    gate = OFFSET + 10 * math.log10(float(kept.mean())) + RELATIVE
    return OFFSET + 10 * math.log10(float(blocks[(level > ABSOLUTE) & (level > gate)].mean()))


def _hop_powers(waveform: Float[Tensor, "c s"], hop: int, *, sample_rate: int) -> Iterator[Float[Tensor, "c h"]]:
    """Mean square of the K-weighted waveform in each whole hop of ``hop`` samples. The waveform is processed in chunks, so that memory
    does not grow with its length. Chunks overlap by one second, far longer than the filter's impulse response."""
    size, memory = hop * max(1, round(CHUNK * sample_rate / hop)), sample_rate
    for start in range(0, waveform.shape[1], size):
        before = min(start, memory)
        part = waveform[:, start - before : start + size].double()
        length = 2 * part.shape[1]
        curve = k_weighting(torch.fft.rfftfreq(length, 1 / sample_rate).double(), sample_rate=sample_rate)
        weighted = torch.fft.irfft(torch.fft.rfft(part, length) * curve, length)[:, before : part.shape[1]]
        if weighted.shape[1] >= hop:
            yield weighted.square().unfold(1, hop, hop).mean(-1)


def k_weighting(frequency: Float[Tensor, " f"], *, sample_rate: int) -> Complex[Tensor, " f"]:
    """Frequency response of both filter stages at any sample rate, by the bilinear transform of the analogue prototypes of BS.1770-4."""
    z = torch.exp(-2j * math.pi * frequency / sample_rate)
    shelf = _biquad(z, *_shelf(1681.974450955533, 3.999843853973347, 0.7071752369554196, sample_rate))
    return shelf * _biquad(z, *_high_pass(38.13547087602444, 0.5003270373238773, sample_rate))


def _biquad(z: Tensor, b: Taps, a: Taps) -> Tensor:
    """Response of a second-order filter at ``z`` = e^(-j omega)."""
    top, bottom = (c[0] + c[1] * z + c[2] * z**2 for c in (b, a))
    return top / bottom


def _shelf(centre: float, gain: float, q: float, rate: int) -> tuple[Taps, Taps]:
    k, high = math.tan(math.pi * centre / rate), 10 ** (gain / 20)
    band = high**0.4996667741545416
    norm = 1 + k / q + k * k
    b = ((high + band * k / q + k * k) / norm, 2 * (k * k - high) / norm, (high - band * k / q + k * k) / norm)
    return b, (1.0, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm)


def _high_pass(centre: float, q: float, rate: int) -> tuple[Taps, Taps]:
    k = math.tan(math.pi * centre / rate)
    norm = 1 + k / q + k * k
    return (1.0, -2.0, 1.0), (1.0, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm)


def _clipped_runs(waveform: Float[Tensor, "c s"]) -> int:
    """Number of runs of at least three samples at full scale."""
    full = (waveform >= FULL_SCALE) | (waveform <= -FULL_SCALE)
    three = full[:, 2:] & full[:, 1:-1] & full[:, :-2]
    begins = three & ~torch.nn.functional.pad(three, (1, 0))[:, :-1]
    return int(begins.sum())


def _silent_share(waveform: Float[Tensor, "c s"], *, sample_rate: int) -> float:
    """Share of 0.1 s intervals in which no channel reaches ``QUIET``."""
    tenths = torch.maximum(waveform.amax(0), -waveform.amin(0)).split(max(1, sample_rate // 10))
    limit = 10 ** (QUIET / 20)
    return sum(float(part.amax()) < limit for part in tenths) / len(tenths)
