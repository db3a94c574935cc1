"""LTX-2's own encoders of clips and captions: diffusers' VAEs and connectors, and a Gemma text encoder of transformers."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...core.streams import Streams
from ...media.mel import log_mel
from ...media.segments import Segment

TEXT_LENGTH = 1024  # tokens of a padded prompt
MEL_STRIDE = 4  # mel frames behind one audio latent frame


class LTX2Codecs:
    """Both VAEs; latents are normalised as the transformer expects them."""

    def __init__(self, video: Any, audio: Any) -> None:
        self.video, self.audio = video, audio

    @torch.inference_mode()
    def __call__(self, segment: Segment) -> Streams[Tensor]:
        """Latents of a segment: video [c, t, h, w] and audio [c, t]."""
        return Streams(self._video(segment.frames), self._audio(segment))

    def _video(self, frames: Tensor) -> Float[Tensor, "c t h w"]:
        pixels = frames.permute(3, 0, 1, 2)[None].to(self.video.device, self.video.dtype) / 127.5 - 1
        mean = self.video.encode(pixels).latent_dist.mode().float()
        centre, scale = (getattr(self.video, f"latents_{n}").float().view(-1, 1, 1, 1) for n in ("mean", "std"))
        return ((mean[0] - centre) * self.video.config.scaling_factor / scale).cpu()

    def _audio(self, segment: Segment) -> Float[Tensor, "c t"]:
        """The mean of the latent distribution, as many latent frames as LTX-2 generates for this duration."""
        config = self.audio.config
        waveform = segment.waveform if config.in_channels == 2 else segment.waveform.mean(0, keepdim=True)
        mel = log_mel(waveform, sample_rate=config.sample_rate, hop=config.mel_hop_length, mels=config.mel_bins)
        mean = self.audio.encode(mel[None].to(self.audio.device, self.audio.dtype)).latent_dist.mode().float()
        tokens = mean[0].transpose(0, 1).flatten(1)  # latent frames, channels x bins
        scaled = (tokens - self.audio.latents_mean.float()) / self.audio.latents_std.float()
        seconds = segment.waveform.shape[1] / config.sample_rate
        return scaled[: round(seconds * config.sample_rate / config.mel_hop_length / MEL_STRIDE)].T.contiguous().cpu()


class LTX2Text:
    """Captions as the transformer reads them: every layer's states of the text encoder, through the connectors."""

    def __init__(self, tokenizer: Any, encoder: Any, connectors: Any) -> None:
        self.tokenizer, self.encoder, self.connectors = tokenizer, encoder, connectors
        tokenizer.padding_side = "left"
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        self.length = min(TEXT_LENGTH, tokenizer.model_max_length)

    @torch.inference_mode()
    def __call__(self, caption: str) -> dict[str, Tensor]:
        """'video' [m, d] and 'audio' [m, d'] for the two streams, and 'mask' [m], 1 for the tokens that are read."""
        words = self.tokenizer(
            [caption.strip()], padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        ).to(self.encoder.device)
        # Only the hidden states are used: logits for all tokens of Gemma's vocabulary would need a gigabyte.
        states = self.encoder(**words, output_hidden_states=True, logits_to_keep=1).hidden_states
        layers = torch.stack(states, dim=-1).to(self.connectors.dtype)
        video, audio, mask = self.connectors(layers, words["attention_mask"], padding_side="left")
        return {"video": video[0].float().cpu(), "audio": audio[0].float().cpu(), "mask": mask[0].to(torch.uint8).cpu()}
