"""Mel filter banks, and the log-mel spectrogram that AudioLDM2's codec and LTX-2's audio VAE share: Slaney bands up to half the rate."""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

N_FFT = 1024
FLOOR = 1e-5


@functools.cache
def mel_bank(
    mels: int,
    sample_rate: int,
    *,
    n_fft: int = N_FFT,
    low: float = 0.0,
    high: float | None = None,
    slaney: bool = False,
) -> Float[Tensor, "frequencies mels"]:
    """Triangular filters from ``low`` to ``high`` Hz (half the sample rate by default), equally spaced on the mel scale: HTK's, with
    peaks of 1; or Slaney's (Auditory Toolbox, 1998), which is linear below 1 kHz, with equal areas."""
    to_mel, to_hertz = (_slaney_mel, _slaney_hertz) if slaney else (_htk_mel, _htk_hertz)
    ends = torch.tensor([low, sample_rate / 2 if high is None else high], dtype=torch.float64)
    first, last = to_mel(ends).tolist()
    edges = to_hertz(torch.linspace(first, last, mels + 2, dtype=torch.float64))
    frequencies = torch.linspace(0, sample_rate // 2, n_fft // 2 + 1, dtype=torch.float64)
    widths = edges.diff()
    rising, falling = (frequencies[:, None] - edges[:-2]) / widths[:-1], (edges[2:] - frequencies[:, None]) / widths[1:]
    bank = torch.minimum(rising, falling).clamp_min(0)
    return (bank * 2 / (edges[2:] - edges[:-2]) if slaney else bank).float()


def _htk_mel(hertz: Tensor) -> Tensor:
    return 2595 * (1 + hertz / 700).log10()


def _htk_hertz(mel: Tensor) -> Tensor:
    return 700 * (10 ** (mel / 2595) - 1)


LINEAR_HERTZ, LINEAR_MEL = 1000.0, 15.0  # Slaney's scale: 3 mel for 200 Hz up to here, then 27 mel for a factor of 6.4
STEP = math.log(6.4) / 27


def _slaney_mel(hertz: Tensor) -> Tensor:
    return torch.where(
        hertz < LINEAR_HERTZ, hertz * 3 / 200, LINEAR_MEL + (hertz / LINEAR_HERTZ).clamp_min(1).log() / STEP
    )


def _slaney_hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < LINEAR_MEL, mel * 200 / 3, LINEAR_HERTZ * ((mel - LINEAR_MEL) * STEP).exp())


def log_mel(
    waveform: Float[Tensor, "b samples"], *, sample_rate: int, hop: int, mels: int
) -> Float[Tensor, "b frames mels"]:
    """Logarithm of the magnitudes in each band, at least ``FLOOR``; frame k is centred on sample k * hop."""
    window = torch.hann_window(N_FFT, device=waveform.device)
    spectrum = torch.stft(waveform, N_FFT, hop, window=window, pad_mode="reflect", return_complex=True).abs()
    return (
        (spectrum.transpose(1, 2) @ mel_bank(mels, sample_rate, slaney=True).to(waveform.device)).clamp_min(FLOOR).log()
    )
