"""JavisDiT v1.0 with its encoders in one folder: ``transformer`` (the official download), ``audioldm2``, and ``vae``, ``text_encoder`` and
``tokenizer`` of Wan2.1 in diffusers' layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...core.pretrained import load_part
from ...core.streams import Streams
from ...core.weights import fill
from ...media.segments import Segment, SegmentShape
from ..parts import fingerprint, part_config
from .audio import AudioLDM2Codec
from .clips import SegmentRule
from .clock import V10_CLOCK
from .files import Tensors, checkpoint_shapes, read_checkpoint, require
from .load import load_audioldm2_codec, require_keys, v10_config
from .v10 import JavisDiT10, V10Config

PIXELS = 16  # a patch of 2 x 2 latent cells
SEGMENTS = SegmentRule("JavisDiT v1.0", V10_CLOCK, PIXELS, PIXELS, "832x480")
TEXT_LENGTH = 512
PARTS = {"vae": "AutoencoderKLWan", "text_encoder": "UMT5"}


@dataclass(frozen=True)
class JavisFolder10:
    """Loads the parts of JavisDiT v1.0."""

    path: Path
    name = "javisdit-v1.0"
    fps = float(V10_CLOCK.fps)

    def shape(self, *, seconds: float, fps: float, width: int, height: int) -> SegmentShape:
        """Segments of at least ``seconds``, with a number of frames that is one more than a multiple of four.

        Raises:
            ValueError: a size or a rate that the model does not have.
        """
        return SEGMENTS.shape(seconds=seconds, fps=fps, width=width, height=height)

    def fingerprint(self) -> str:
        """A hash of the parts that encode clips."""
        for part, kind in PARTS.items():
            part_config(self.path / part, kind)
        return fingerprint([*(self.path / part for part in PARTS), self.path / "audioldm2" / "vae"])

    def text(self, device: torch.device, dtype: torch.dtype) -> UMT5Text:
        """Tokenizer and text encoder."""
        from transformers import AutoTokenizer, UMT5EncoderModel

        part_config(self.path / "text_encoder", PARTS["text_encoder"])
        encoder: Any = load_part(UMT5EncoderModel, self.path / "text_encoder", dtype=dtype, use_safetensors=True)
        tokenizer = load_part(AutoTokenizer, self.path / "tokenizer")
        return UMT5Text(tokenizer, encoder.to(device).eval())

    def codecs(self, device: torch.device, dtype: torch.dtype) -> JavisCodecs10:
        """Wan's video VAE and AudioLDM2's codec."""
        from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

        part_config(self.path / "vae", PARTS["vae"])
        video: Any = load_part(AutoencoderKLWan, self.path / "vae", torch_dtype=dtype, use_safetensors=True)
        audio = load_audioldm2_codec(self.path / "audioldm2")
        return JavisCodecs10(video.to(device).eval().requires_grad_(False), audio.to(device))

    def network(self, device: torch.device, dtype: torch.dtype) -> JavisDiT10:
        """The network, frozen, with its official LoRA merged."""
        tensors = self._required(read_checkpoint)
        network = JavisDiT10(self._config(tensors)).to(dtype)
        halves = {name: value.to(dtype) for name, value in tensors.items()}
        return fill(network, halves, source=self.path / "transformer").to(device)

    def config(self) -> V10Config:
        """The sizes of the network, which its tensors state; of safetensors only the headers are read."""
        return self._config(self._required(checkpoint_shapes))

    def _required(self, read: Callable[[Path], Tensors]) -> Tensors:
        source = self.path / "transformer"
        return require(read(source), "JavisDiT v1.0", source=source)

    def _config(self, tensors: Tensors) -> V10Config:
        with require_keys(self.path / "transformer"):
            return v10_config(tensors)


class UMT5Text:
    """Captions as the network reads them: states of UMT5, zero outside the caption."""

    def __init__(self, tokenizer: Any, encoder: Any) -> None:
        self.tokenizer, self.encoder = tokenizer, encoder

    @torch.inference_mode()
    def __call__(self, caption: str) -> dict[str, Tensor]:
        """'video' [m, d], read by both streams, and 'mask' [m]."""
        words = self.tokenizer(
            [caption.strip()], padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
        ).to(self.encoder.device)
        states = self.encoder(**words).last_hidden_state[0].float()
        mask = words["attention_mask"][0]
        return {"video": (states * mask[:, None]).cpu(), "mask": mask.to(torch.uint8).cpu()}


class JavisCodecs10:
    """Both codecs; video latents are standardised as the network expects them."""

    def __init__(self, video: Any, audio: AudioLDM2Codec) -> None:
        self.video, self.audio = video, audio

    @torch.inference_mode()
    def __call__(self, segment: Segment) -> Streams[Tensor]:
        """Latents of a segment: video [c, t, h, w] and audio [c, t, bins]."""
        audio = self.audio.encode(segment.waveform[None].to(self.video.device))[0].float().cpu()
        return Streams(self._video(segment.frames), audio)

    def _video(self, frames: Tensor) -> Float[Tensor, "c t h w"]:
        config = self.video.config
        pixels = frames.permute(3, 0, 1, 2)[None].to(self.video.device, self.video.dtype) / 127.5 - 1
        mean = self.video.encode(pixels).latent_dist.mode()[0].float().cpu()
        centre, scale = (torch.tensor(config[f"latents_{n}"]).view(-1, 1, 1, 1) for n in ("mean", "std"))
        return (mean - centre) / scale
