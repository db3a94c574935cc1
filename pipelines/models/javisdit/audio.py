"""AudioLDM2's codec: waveform to log-mel spectrogram to latent, and back through a HiFi-GAN vocoder.

Letters: b batch, t latent frames of four mel frames, m latent bins.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...media.mel import FLOOR
from ...media.mel import log_mel as log_magnitudes
from .autoencoder import AutoencoderKL

SAMPLE_RATE = 16_000
HOP, MELS, PEAK = 160, 64, 0.5
MEL_MULTIPLE = 32  # the network was trained on multiples of this number of mel frames


def log_mel(waveform: Float[Tensor, "b samples"]) -> Float[Tensor, "b frames 64"]:
    """Log magnitudes in 64 Slaney bands of the waveform, centred and normalised to a peak of 0.5: the level is lost."""
    centred = waveform - waveform.mean(-1, keepdim=True)
    normalised = PEAK * centred / centred.abs().amax(-1, keepdim=True).clamp_min(FLOOR)
    return log_magnitudes(normalised, sample_rate=SAMPLE_RATE, hop=HOP, mels=MELS)


class AudioLDM2Codec(nn.Module):
    """Mono waveforms at 16 kHz and scaled latents [b, 8, t, 16]; the vocoder is transformers' SpeechT5HifiGan."""

    sample_rate = SAMPLE_RATE

    def __init__(self, vae: AutoencoderKL, vocoder: nn.Module, scale: float) -> None:
        super().__init__()
        self.vae, self.vocoder, self.scale = vae, vocoder, scale

    def encode(self, waveform: Float[Tensor, "b channels samples"]) -> Float[Tensor, "b c t m"]:
        """The mean of the latent distribution of the downmixed waveform. Mel frames are padded with silence to a multiple of 32."""
        mel = log_mel(waveform.float().mean(1))[:, : waveform.shape[-1] // HOP]
        padded = F.pad(mel, (0, 0, 0, -mel.shape[1] % MEL_MULTIPLE), value=torch.tensor(FLOOR).log().item())
        return self.vae.moments(padded[:, None].to(self.vae.quant_conv.weight.dtype))[0] * self.scale

    def decode(self, latent: Float[Tensor, "b c t m"]) -> Float[Tensor, "b 1 samples"]:
        mel = self.vae.decode(latent / self.scale)[:, 0]
        return self.vocoder(mel).reshape(len(mel), 1, -1)
