"""The log-mel spectrogram that AudioLDM2's codec and LTX-2's audio VAE share: Slaney bands up to half the sample rate."""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

N_FFT = 1024
FLOOR = 1e-5


@functools.cache
def _bank(mels: int, sample_rate: int) -> Tensor:
    bank = mel_filter_bank(N_FFT // 2 + 1, mels, 0, sample_rate / 2, sample_rate, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank).float()  # frequencies, mels


def log_mel(
    waveform: Float[Tensor, "b samples"], *, sample_rate: int, hop: int, mels: int
) -> Float[Tensor, "b frames mels"]:
    """Logarithm of the magnitudes in each band, at least ``FLOOR``; frame k is centred on sample k * hop."""
    window = torch.hann_window(N_FFT, device=waveform.device)
    spectrum = torch.stft(waveform, N_FFT, hop, window=window, pad_mode="reflect", return_complex=True).abs()
    return (spectrum.transpose(1, 2) @ _bank(mels, sample_rate).to(waveform.device)).clamp_min(FLOOR).log()
