"""The pocket audio codec: stereo log-mel frames, a linear map (PCA) of blocks of them into the latent, and a learnt decoder.

A linear encoder fits in seconds and fixes the latents for good. The vocoder maps decoded log-mel frames to spectra, whose phases
Griffin-Lim finds, and to an envelope that removes what Griffin-Lim smears before an onset. What the codec loses is measured as the
bench's ceiling.
Letters: b batch, t latent frames, c latent channels, s stereo channels, m mel bands, p mel frames of a latent frame.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...core.schema import Between, SampleRate, Width
from ...core.sizes import MEL_HOP, MEL_STRIDE
from ...media.mel import mel_bank
from .pca import PatchPCA

N_FFT = 1024
N_MELS = 64
MEL_RANGE = (40.0, 7800.0)  # Hz
MEL_FLOOR = 1e-3
GRIFFIN_LIM_STEPS = 32
GRIFFIN_LIM_MOMENTUM = 0.99
BIN = 25  # samples in one value of the envelope: 1.6 ms at 16 kHz, ten to a mel frame
SPECTRUM_FLOOR = 1e-3  # the network's outputs are log(magnitude + floor) and log(level + floor)
LEVEL_FLOOR = 1e-5
TOP = 8.0  # greatest logarithm: far above any magnitude of a waveform within -1..1
FOLLOWED = 7  # bins: 11 ms
FADE = 0.01  # seconds
PEAK = 0.98  # of full scale


def _mel_bank(sample_rate: int) -> Float[Tensor, "frequencies mels"]:
    low, high = MEL_RANGE
    return mel_bank(N_MELS, sample_rate, n_fft=N_FFT, low=low, high=high)


def spectra(waveform: Float[Tensor, "*b samples"]) -> Float[Tensor, "*b frequencies frames"]:
    """STFT magnitudes; frame k is centred on sample (k + 0.5) * MEL_HOP."""
    frames = -(-waveform.shape[-1] // MEL_HOP)
    left = (N_FFT - MEL_HOP) // 2
    right = (frames - 1) * MEL_HOP + N_FFT - left - waveform.shape[-1]
    padded = nn.functional.pad(waveform, (left, right)).flatten(0, -2)
    window = torch.hann_window(N_FFT, device=waveform.device)
    found = torch.stft(padded, N_FFT, MEL_HOP, window=window, center=False, return_complex=True).abs()
    return found.unflatten(0, waveform.shape[:-1])


def log_mel(
    waveform: Float[Tensor, "b channels samples"], *, sample_rate: int
) -> Float[Tensor, "b channels mels frames"]:
    """(log(m + 1e-3) + 3) / 3 of the mel magnitudes at the frames of ``spectra``."""
    mel = torch.einsum("fm,bcft->bcmt", _mel_bank(sample_rate).to(waveform.device), spectra(waveform))
    return ((mel + MEL_FLOOR).log() + 3).div(3)


def envelope(waveform: Float[Tensor, "*b samples"]) -> Float[Tensor, "*b bins"]:
    """Root mean square of consecutive ``BIN`` samples; the samples are a multiple of it."""
    return waveform.unflatten(-1, (-1, BIN)).square().mean(-1).sqrt()


class Vocoder(nn.Module):
    """Spectra and a fine envelope from log-mel frames. The envelope resolves what the 64 ms of a frame smear: where a sound starts."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(N_MELS, width, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.GELU(),
        )
        self.to_spectrum = nn.Conv1d(width, N_FFT // 2 + 1, 1)
        self.to_envelope = nn.Conv1d(width, MEL_HOP // BIN, 1)

    def forward(
        self, mel: Float[Tensor, "b mels frames"]
    ) -> tuple[Float[Tensor, "b frequencies frames"], Float[Tensor, "b bins"]]:
        """Magnitudes of the STFT at the frames of ``log_mel``, and the waveform's ``envelope``, both at least 0."""
        hidden = self.body(mel)
        spectrum, levels = self.to_spectrum(hidden), rearrange(self.to_envelope(hidden), "b n t -> b (t n)")
        return (spectrum.clamp_max(TOP).exp() - SPECTRUM_FLOOR).clamp_min(0), (
            levels.clamp_max(TOP).exp() - LEVEL_FLOOR
        ).clamp_min(0)


def follow(waveform: Float[Tensor, "b samples"], levels: Float[Tensor, "b bins"]) -> Float[Tensor, "b samples"]:
    """``waveform`` attenuated wherever it is louder than the envelope ``levels``, both averaged over ``FOLLOWED`` bins. The gain changes
    linearly between centres of bins, and is zero in a silent bin."""
    padded = nn.functional.pad(waveform, (0, levels.shape[-1] * BIN - waveform.shape[-1]))
    wanted, heard = _smooth_level(levels), _smooth_level(envelope(padded))
    gain = (wanted / heard.clamp_min(LEVEL_FLOOR)).clamp(0, 1)
    smooth = nn.functional.interpolate(gain[:, None], scale_factor=BIN, mode="linear", align_corners=False)[:, 0]
    silent = (levels <= 0).repeat_interleave(BIN, dim=-1)
    return (padded * smooth.masked_fill(silent, 0))[:, : waveform.shape[-1]]


def _smooth_level(levels: Float[Tensor, "b bins"]) -> Float[Tensor, "b bins"]:
    power = levels.square()[:, None]
    mean = nn.functional.avg_pool1d(power, FOLLOWED, 1, FOLLOWED // 2, count_include_pad=False)
    return mean[:, 0].sqrt()


def fade_out(waveform: Float[Tensor, "*b samples"], *, sample_rate: int) -> Float[Tensor, "*b samples"]:
    """``waveform`` with its last ``FADE`` seconds faded, so that a sound cut by the end of the clip does not click."""
    count = min(round(FADE * sample_rate), waveform.shape[-1])
    ramp = torch.ones(waveform.shape[-1], device=waveform.device)
    ramp[waveform.shape[-1] - count :] = torch.linspace(1, 0, count, device=waveform.device)
    return waveform * ramp


def griffin_lim(
    magnitude: Float[Tensor, "b channels frequencies frames"], *, samples: int, steps: int = GRIFFIN_LIM_STEPS
) -> Float[Tensor, "b channels samples"]:
    """Waveforms whose spectrograms approach ``magnitude`` (fast Griffin-Lim, Perraudin et al., 2013). Deterministic.

    All channels have the phases found for their sum of powers: phases of their own would cancel a panned sound in a mono mix.
    """
    together = magnitude.square().sum(1).sqrt()
    window = torch.hann_window(N_FFT, device=magnitude.device)
    left = (N_FFT - MEL_HOP) // 2
    length = (magnitude.shape[-1] - 1) * MEL_HOP + N_FFT
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(together.shape, generator=generator).to(magnitude.device) * 2 * math.pi
    # ISTFT by overlap-add: torch.istft refuses frames that do not start half a window before the signal.
    weight = nn.functional.fold(
        (window**2)[None, :, None].expand(1, -1, magnitude.shape[-1]), (1, length), (1, N_FFT), stride=(1, MEL_HOP)
    ).flatten(1)

    def synthesise(spectrum: Tensor) -> Tensor:
        frames = torch.fft.irfft(spectrum, dim=1) * window[:, None]
        signal = nn.functional.fold(frames, (1, length), (1, N_FFT), stride=(1, MEL_HOP)).flatten(1)
        return signal / weight.clamp_min(1e-3)

    phase = torch.polar(torch.ones_like(together), angles)
    previous = torch.zeros_like(phase)
    for _ in range(steps):
        signal = synthesise(together * phase)
        projected = torch.stft(signal, N_FFT, MEL_HOP, window=window, center=False, return_complex=True)
        accelerated = projected + GRIFFIN_LIM_MOMENTUM * (projected - previous)
        previous = projected
        phase = accelerated / accelerated.abs().clamp_min(1e-8)
    waveforms = synthesise((magnitude * phase[:, None]).flatten(0, 1)).unflatten(0, magnitude.shape[:2])
    return waveforms[..., left : left + samples]


class AudioCodec(nn.Module):
    """Stereo waveforms [b, 2, samples] at ``sample_rate`` <-> latents [b, c, t], through log-mel frames.

    The encoder is linear in the log-mel frames. ``width`` is that of the vocoder; 0: frames of the latents only, no waveform.
    """

    def __init__(
        self, *, channels: Width, sample_rate: SampleRate, width: Annotated[int, Between(0, 65_536)] = 0
    ) -> None:
        super().__init__()
        self.channels, self.sample_rate = channels, sample_rate
        self.config = {"channels": channels, "sample_rate": sample_rate, "width": width}
        self.pca = PatchPCA(2 * N_MELS * MEL_STRIDE, channels)
        self.vocoder = Vocoder(width=width) if width else None

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

    def waveforms(self, mel: Float[Tensor, "b 2 mels frames"], *, samples: int) -> Float[Tensor, "b 2 samples"]:
        """Waveforms of log-mel frames. A clip whose peak exceeds ``PEAK`` is scaled down as a whole.

        Raises:
            ValueError: the codec has no vocoder.
        """
        if self.vocoder is None:
            raise ValueError(
                "This audio codec has no vocoder, so it cannot decode. Train one with 'duet train audio-decoder'."
            )
        magnitude, levels = self.vocoder(mel.flatten(0, 1))
        sound = griffin_lim(magnitude.unflatten(0, mel.shape[:2]), samples=samples).flatten(0, 1)
        followed = fade_out(follow(sound, levels), sample_rate=self.sample_rate).unflatten(0, mel.shape[:2])
        return followed / (followed.abs().amax(dim=(1, 2), keepdim=True) / PEAK).clamp_min(1.0)

    def decode(self, latent: Float[Tensor, "b c t"], *, samples: int | None = None) -> Float[Tensor, "b 2 samples"]:
        """Waveforms; ``samples`` cuts the last latent frame's padding."""
        mel = self.decode_mel(latent)
        return self.waveforms(mel, samples=samples or mel.shape[-1] * MEL_HOP)
