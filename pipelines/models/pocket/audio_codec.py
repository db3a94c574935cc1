"""The pocket audio codec: stereo log-mel frames, a linear map (PCA) of blocks of them into the latent, and Griffin-Lim for decoding.

A linear encoder fits in seconds and fixes the latents for good. What the codec loses is measured as the bench's ceiling.
Letters: b batch, t latent frames, c latent channels, s stereo channels, m mel bands, p mel frames of a latent frame.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...core.schema import SampleRate, Width
from ...core.sizes import MEL_HOP, MEL_STRIDE
from ...media.mel import mel_bank
from .pca import PatchPCA

N_FFT = 1024
N_MELS = 64
MEL_RANGE = (40.0, 7800.0)  # Hz
MEL_FLOOR = 1e-3
MEL_PEAK = 5.0  # of normalised log-mel values: over 100 times a tone at full scale, and its exponential is finite
GRIFFIN_LIM_STEPS = 32
GRIFFIN_LIM_MOMENTUM = 0.99
NNLS_STEPS = 24


def _mel_bank(sample_rate: int) -> Float[Tensor, "frequencies mels"]:
    low, high = MEL_RANGE
    return mel_bank(N_MELS, sample_rate, n_fft=N_FFT, low=low, high=high)


def log_mel(
    waveform: Float[Tensor, "b channels samples"], *, sample_rate: int
) -> Float[Tensor, "b channels mels frames"]:
    """(log(m + 1e-3) + 3) / 3 of the mel magnitudes; frame k is centred on sample (k + 0.5) * MEL_HOP."""
    frames = -(-waveform.shape[-1] // MEL_HOP)
    left = (N_FFT - MEL_HOP) // 2
    right = (frames - 1) * MEL_HOP + N_FFT - left - waveform.shape[-1]
    padded = nn.functional.pad(waveform, (left, right))
    window = torch.hann_window(N_FFT, device=waveform.device)
    spectrum = torch.stft(padded.flatten(0, 1), N_FFT, MEL_HOP, window=window, center=False, return_complex=True).abs()
    mel = torch.einsum("fm,bft->bmt", _mel_bank(sample_rate).to(waveform.device), spectrum)
    return ((mel + MEL_FLOOR).log() + 3).div(3).unflatten(0, waveform.shape[:2])


def magnitudes(mel: Float[Tensor, "b mels frames"], *, sample_rate: int) -> Float[Tensor, "b frequencies frames"]:
    """Spectra S of ``log_mel`` frames: non-negative least squares bank^T S = m by multiplicative updates (Lee and Seung,
    2001)."""
    bank = _mel_bank(sample_rate).to(mel.device)
    target = bank @ ((mel.clamp_max(MEL_PEAK) * 3 - 3).exp() - MEL_FLOOR).clamp_min(0)
    magnitude = target + 1e-8
    for _ in range(NNLS_STEPS):
        magnitude = magnitude * (target / (bank @ (bank.T @ magnitude) + 1e-8))
    return magnitude


def griffin_lim(
    magnitude: Float[Tensor, "b frequencies frames"], *, samples: int, steps: int = GRIFFIN_LIM_STEPS
) -> Float[Tensor, "b samples"]:
    """A waveform whose spectrogram approaches ``magnitude`` (fast Griffin-Lim, Perraudin et al., 2013). Deterministic."""
    window = torch.hann_window(N_FFT, device=magnitude.device)
    left = (N_FFT - MEL_HOP) // 2
    length = (magnitude.shape[-1] - 1) * MEL_HOP + N_FFT
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(magnitude.shape, generator=generator).to(magnitude.device) * 2 * math.pi
    estimate = torch.polar(magnitude, angles)
    # ISTFT by overlap-add: torch.istft refuses frames that do not start half a window before the signal.
    weight = nn.functional.fold(
        (window**2)[None, :, None].expand(1, -1, magnitude.shape[-1]), (1, length), (1, N_FFT), stride=(1, MEL_HOP)
    ).flatten(1)

    def synthesise(spectrum: Tensor) -> Tensor:
        frames = torch.fft.irfft(spectrum, dim=1) * window[:, None]
        return nn.functional.fold(frames, (1, length), (1, N_FFT), stride=(1, MEL_HOP)).flatten(1) / weight.clamp_min(
            1e-3
        )

    previous = torch.zeros_like(estimate)
    for _ in range(steps):
        projected = torch.stft(synthesise(estimate), N_FFT, MEL_HOP, window=window, center=False, return_complex=True)
        accelerated = projected + GRIFFIN_LIM_MOMENTUM * (projected - previous)
        previous = projected
        estimate = magnitude * accelerated / accelerated.abs().clamp_min(1e-8)
    return synthesise(estimate)[:, left : left + samples]


class AudioCodec(nn.Module):
    """Stereo waveforms [b, 2, samples] at ``sample_rate`` <-> latents [b, c, t], through log-mel frames."""

    def __init__(self, *, channels: Width, sample_rate: SampleRate) -> None:
        super().__init__()
        self.channels, self.sample_rate = channels, sample_rate
        self.pca = PatchPCA(2 * N_MELS * MEL_STRIDE, channels)

    @property
    def base(self) -> AudioCodec:
        """The codec itself."""
        return self

    @staticmethod
    def to_patches(mel: Tensor) -> Tensor:
        missing = -mel.shape[-1] % MEL_STRIDE
        whole = torch.cat([mel, mel[..., -1:].expand(-1, -1, -1, missing)], dim=-1)
        return rearrange(whole, "b s m (t p) -> b t (s m p)", p=MEL_STRIDE)

    def encode(self, waveform: Float[Tensor, "b 2 samples"]) -> Float[Tensor, "b c t"]:
        mel = log_mel(waveform.clamp(-1, 1), sample_rate=self.sample_rate)
        return rearrange(self.pca.encode(self.to_patches(mel)), "b t c -> b c t")

    def decode_mel(self, latent: Float[Tensor, "b c t"]) -> Float[Tensor, "b 2 mels frames"]:
        patches = self.pca.decode(rearrange(latent, "b c t -> b t c"))
        return rearrange(patches, "b t (s m p) -> b s m (t p)", s=2, p=MEL_STRIDE)

    def decode(self, latent: Float[Tensor, "b c t"], *, samples: int | None = None) -> Float[Tensor, "b 2 samples"]:
        """Waveforms within -1..1; ``samples`` cuts the last latent frame's padding."""
        mel = self.decode_mel(latent)
        length = samples or mel.shape[-1] * MEL_HOP
        magnitude = magnitudes(mel.flatten(0, 1), sample_rate=self.sample_rate)
        return griffin_lim(magnitude, samples=length).unflatten(0, (-1, 2)).clamp(-1, 1)
