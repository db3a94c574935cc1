"""Loudness according to ITU-R BS.1770-4 and EBU R 128, true peak, clipping and silence.

Letters: c channels, s samples, h hops, f frequencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor

from ..media.blocks import Blocks
from ..media.limiter import REACH, true_peaks_inside

BLOCK, OVERLAP = 0.4, 0.75  # seconds of a gating block, and the overlap of blocks as a share
ABSOLUTE, RELATIVE = -70.0, -10.0  # gates: LUFS, and LU below the ungated mean
OFFSET = -0.691  # LUFS; constant of the loudness scale
SURROUND = 1.41  # weight of the channels behind the listener, in 5.0 and 5.1
FULL_SCALE = 0.999  # magnitude from which samples count as clipped
QUIET = -60.0  # dB relative to full scale; below it counts as silence
BLOCK_HOPS = 20  # hops measured at once: 2 s
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
    meter = LoudnessMeter(sample_rate)
    meter.add(waveform)
    return meter.result()


class LoudnessMeter:
    """``loudness`` of a stream of samples; memory does not grow with its length."""

    def __init__(self, sample_rate: int) -> None:
        self.rate, self.hop = sample_rate, max(1, round(BLOCK * (1 - OVERLAP) * sample_rate))
        # One second before a block is far longer than the impulse response of the K-weighting.
        self.blocks = Blocks(self.hop * BLOCK_HOPS, before=sample_rate, after=REACH)
        self.powers: list[Float[Tensor, "c h"]] = []  # mean square of the K-weighted samples of each hop
        self.samples = self.clipped = self.silent = 0
        self.peak = 0.0

    def add(self, samples: Float[Tensor, "c s"]) -> None:
        """The next samples, in -1..1."""
        self.samples += samples.shape[1]
        for part in self.blocks.add(samples.float()):
            self._measure(part)

    def result(self) -> Loudness:
        """The loudness of all samples.

        Raises:
            ValueError: there were none.
        """
        if not self.samples:
            raise ValueError("The audio has no samples, so its loudness cannot be measured.")
        for part in self.blocks.end():
            self._measure(part)
        hops = sum(part.shape[1] for part in self.powers)
        return Loudness(self._integrated(), 20 * math.log10(max(self.peak, 1e-9)), self.clipped, self.silent / hops)

    def _measure(self, part: Float[Tensor, "c block"]) -> None:
        before, after = self.blocks.before, self.blocks.after
        inside = part[:, before:-after]
        missing = -inside.shape[1] % self.hop
        self.powers.append(
            self._weighted(F.pad(part[:, :-after], (0, missing))).square().unfold(1, self.hop, self.hop).mean(-1)
        )
        self.peak = max(self.peak, float(true_peaks_inside(part[:, before - REACH + 1 :]).amax()))
        full = part[:, before - 3 : -after].abs() >= FULL_SCALE
        three = full[:, 2:] & full[:, 1:-1] & full[:, :-2]
        self.clipped += int((three[:, 1:] & ~three[:, :-1]).sum())
        loudest = F.pad(inside.abs().amax(0), (0, missing)).unflatten(0, (-1, self.hop)).amax(1)
        self.silent += int((loudest < 10 ** (QUIET / 20)).sum())

    def _weighted(self, part: Float[Tensor, "c padded"]) -> Float[Tensor, "c block"]:
        """The K-weighted samples behind the first ``before``."""
        length = 2 * part.shape[1]
        curve = k_weighting(torch.fft.rfftfreq(length, 1 / self.rate).double(), sample_rate=self.rate)
        filtered = torch.fft.irfft(torch.fft.rfft(part.double(), length) * curve, length)
        return filtered[:, self.blocks.before : part.shape[1]]

    def _integrated(self) -> float | None:
        """Gated loudness in LUFS; None if everything is below the absolute gate."""
        each, power = round(1 / (1 - OVERLAP)), torch.cat(self.powers, dim=1)  # hops in a gating block
        whole = max(
            each, self.samples // self.hop
        )  # a hop that is not full counts only if the audio is shorter than a block
        power = F.pad(power, (0, max(0, whole - power.shape[1])))[:, :whole].unfold(1, each, 1).mean(-1)
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
