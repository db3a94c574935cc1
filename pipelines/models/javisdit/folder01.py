"""JavisDiT v0.1 with its encoders in one folder.

``transformer``, ``prior`` and ``vae`` hold the official downloads of the network, its prior and Open-Sora's VAE, ``audioldm2`` the codec,
``text_encoder`` and ``tokenizer`` T5 v1.1 XXL, ``prior_tokenizer`` CLIP's tokenizer. ``imagebind`` is needed if the prior's file has no
text tower, and ``stdit`` (Open-Sora's STDiT v3) if training starts from the official text-to-audio stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...core.pretrained import load_part
from ...core.streams import Streams
from ...core.weights import fill
from ...media.segments import Segment, SegmentShape
from ..parts import fingerprint, part_config
from ..prior.estimator import PriorEstimator, token_ids
from .audio import AudioLDM2Codec
from .caption import v01_prompt
from .clips import SegmentRule
from .clock import V01_CLOCK
from .files import checkpoint_shapes, read_checkpoint, require
from .load import load_audioldm2_codec, load_video_autoencoder, require_keys, v01_config
from .load_prior import load_training_prior
from .opensora_vae import OpenSoraVAE
from .prior_heads import PriorHeads
from .v01 import JavisDiT01
from .v01_blocks import V01Config

PIXELS = 8  # of a latent cell
TEXT_LENGTH = 300
TITLE = "JavisDiT v0.1"
SEGMENTS = SegmentRule(TITLE, V01_CLOCK, PIXELS, 2 * PIXELS, "432x240")


@dataclass(frozen=True)
class JavisFolder01:
    """Loads the parts of JavisDiT v0.1."""

    path: Path
    name = "javisdit-v0.1"
    fps = float(V01_CLOCK.fps)

    def shape(self, *, seconds: float, fps: float, width: int, height: int) -> SegmentShape:
        """Segments of at least ``seconds``, with a multiple of 17 frames.

        Raises:
            ValueError: a size or a rate that the model does not have.
        """
        return SEGMENTS.shape(seconds=seconds, fps=fps, width=width, height=height)

    def fingerprint(self) -> str:
        """A hash of the parts that encode clips. The prior is not one of them: training changes it, except for its text tower."""
        part_config(self.path / "text_encoder", "T5")
        for part in ("vae", "audioldm2/vae"):
            if not (self.path / part).is_dir():
                raise ValueError(f"{self.path / part} is missing. docs/training.md lists the folder's parts.")
        return fingerprint(self.path / part for part in ("text_encoder", "vae", "audioldm2/vae"))

    def text(self, device: torch.device, dtype: torch.dtype) -> JavisText01:
        """T5, and the text tower of the prior, with their tokenizers."""
        from transformers import AutoTokenizer, T5EncoderModel

        part_config(self.path / "text_encoder", "T5")
        encoder: Any = load_part(T5EncoderModel, self.path / "text_encoder", dtype=dtype)
        words, pieces = (load_part(AutoTokenizer, self.path / part) for part in ("tokenizer", "prior_tokenizer"))
        return JavisText01(words, encoder.to(device).eval(), pieces, self.prior()[0].text_encoder)

    def codecs(self, device: torch.device, dtype: torch.dtype) -> JavisCodecs01:
        """Open-Sora's video VAE and AudioLDM2's codec."""
        video = load_video_autoencoder(self.path / "vae").to(device, dtype)
        return JavisCodecs01(video, load_audioldm2_codec(self.path / "audioldm2").to(device))

    def prior(self) -> tuple[PriorEstimator, PriorHeads | None]:
        """The prior's estimator, and its training heads if the file has them."""
        return load_training_prior(self.path / "prior", lambda: self.path / "imagebind")

    def network(self, device: torch.device, dtype: torch.dtype) -> JavisDiT01:
        """The network, frozen."""
        source = self.path / "transformer"
        tensors = require(read_checkpoint(source), TITLE, source=source)
        with require_keys(source):
            network = JavisDiT01(v01_config(tensors)).to(dtype)
        halves = {name: value.to(dtype) for name, value in tensors.items()}
        return fill(network, halves, source=source).to(device)

    def config(self) -> V01Config:
        """The sizes of the network, which its tensors state; of safetensors only the headers are read."""
        source = self.path / "transformer"
        tensors = require(checkpoint_shapes(source), TITLE, source=source)
        with require_keys(source):
            return v01_config(tensors)


class JavisText01:
    """Captions as network and prior read them: states of T5 and of ImageBind's text tower."""

    def __init__(self, tokenizer: Any, encoder: Any, pieces: Any, tower: nn.Module) -> None:
        self.tokenizer, self.encoder, self.pieces, self.tower = tokenizer, encoder, pieces, tower

    @torch.inference_mode()
    def __call__(self, caption: str) -> dict[str, Tensor]:
        """'video' [m, d], read by both streams, 'mask' [m], and 'tower' [77, d] for the prior."""
        prompt = v01_prompt(caption)
        words = self.tokenizer(
            [prompt], padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
        ).to(self.encoder.device)
        ids = token_ids(prompt, lambda text: self.pieces(text, add_special_tokens=False).input_ids)
        return {
            "video": self.encoder(**words).last_hidden_state[0].float().cpu(),
            "mask": words["attention_mask"][0].to(torch.uint8).cpu(),
            "tower": self.tower(ids)[0],
        }


class JavisCodecs01:
    """Both codecs. The latents are the means of their distributions, where the official training draws from them."""

    def __init__(self, video: OpenSoraVAE, audio: AudioLDM2Codec) -> None:
        self.video, self.audio = video, audio

    @torch.inference_mode()
    def __call__(self, segment: Segment) -> Streams[Tensor]:
        """Latents of a segment: video [c, t, h, w] and audio [c, t, bins]."""
        weight = self.video.temporal_vae.quant_conv.conv.weight
        audio = self.audio.encode(segment.waveform[None].to(weight.device))[0].float().cpu()
        return Streams(self._video(segment.frames, weight), audio)

    def _video(self, frames: Tensor, weight: Tensor) -> Float[Tensor, "c t h w"]:
        pixels = frames.permute(3, 0, 1, 2)[None].to(weight.device, weight.dtype) / 127.5 - 1
        return self.video.encode(pixels)[0].float().cpu()
