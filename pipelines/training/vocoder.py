"""Training of the audio decoder: spectra and envelopes of true clips from decoded log-mel frames, true ones and the network's estimates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..bench.sound_audit import audit
from ..core.sizes import ClipShape
from ..core.weights import save_weights, to_half
from ..models.pocket.audio_codec import LEVEL_FLOOR, SPECTRUM_FLOOR, AudioCodec, Vocoder, envelope, spectra
from ..world import make_scenes, render_sound
from .decoders import DecoderClips

HELD_OUT = 64
LEVEL_WEIGHT = 0.25  # of the envelope's error: its logarithms range over more than those of spectra
LINEAR = 0.1  # weight of the error of magnitudes against that of their logarithms


class _VocoderObjective(nn.Module):
    def __init__(self, vocoder: Vocoder) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        mel, magnitude, levels = batch
        found, heard = (x.float() for x in self.vocoder(mel))
        log = lambda x, floor: (x + floor).log()  # noqa: E731 - used four times
        spectrum = (log(found, SPECTRUM_FLOOR) - log(magnitude, SPECTRUM_FLOOR)).abs().mean()
        linear = (found - magnitude).abs().mean()
        level = (log(heard, LEVEL_FLOOR) - log(levels, LEVEL_FLOOR)).abs().mean()
        loss = spectrum + LINEAR * linear + LEVEL_WEIGHT * level
        return {"loss": loss, "spectrum": spectrum.detach(), "level": level.detach()}


class AudioDecoderStage:
    """Log-mel frames of latents -> spectra and envelopes of the true waveforms. The encoder is not changed."""

    name = "audio-decoder"

    def __init__(self, codec: AudioCodec, path: Path, *, clips: DecoderClips) -> None:
        if codec.vocoder is None:
            raise ValueError("The audio codec has no vocoder to train.")
        self.codec, self.path, self.clips = codec, path, clips
        self.objective = _VocoderObjective(codec.vocoder)

    @torch.no_grad()
    def batch(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
        pick, latent = self.clips.draw("audio", size, generator)
        waveform, mel = self.clips.waveform[pick].float().flatten(0, 1), self.codec.decode_mel(latent).flatten(0, 1)
        return mel, spectra(waveform), envelope(waveform)

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """The audit of reconstructions of held-out clips with a single subject; the score is the correlation of envelopes."""
        shape = ClipShape()
        scenes = make_scenes(7_003, HELD_OUT, split="test", mix={"single": 1.0})
        waveform = render_sound(scenes, samples=shape.samples, sample_rate=shape.sample_rate)
        found = self.codec.decode(self.codec.encode(waveform), samples=waveform.shape[-1])
        scores = audit(found, waveform, scenes)
        return {"score": scores["envelope_correlation"], **scores}

    def save(self, record: dict[str, Any]) -> list[Path]:
        save_weights(self.path, to_half(self.codec), kind="audio-codec", config=self.codec.config, record=record)
        return [self.path]
