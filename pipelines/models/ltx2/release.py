"""LTX-2 as it is released, whatever the layout: the parts that encode clips and captions, and the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch

from ...media.segments import SegmentShape
from .encoders import LTX2Codecs, LTX2Text
from .gemma import GemmaFile, GemmaFolder
from .network import LTX2Network
from .sizes import LTX2Sizes


class LTX2Release(ABC):
    """The parts 'vae', 'audio_vae', 'connectors' and 'transformer', and Gemma. Each is read when it is asked for."""

    path: Path
    name = "ltx2"
    fps = 24.0

    @abstractmethod
    def config(self, part: str, *entries: str) -> dict[str, Any]:
        """The configuration of ``part`` for diffusers' class, which has ``entries``.

        Raises:
            ValueError: the part is missing or damaged, or belongs to another model.
        """

    @abstractmethod
    def part(self, kind: Any, part: str, device: torch.device, dtype: torch.dtype) -> Any:
        """``part``, an instance of diffusers' class ``kind``, frozen.

        Raises:
            ValueError: the part is missing or damaged, or belongs to another model.
        """

    @abstractmethod
    def gemma(self) -> GemmaFolder | GemmaFile:
        """The text encoder.

        Raises:
            ValueError: there is none.
        """

    @abstractmethod
    def sizes(self) -> LTX2Sizes:
        """Sizes of the transformer."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the parts that encode clips. Without the text encoder, if that is not known, it is the beginning of this hash."""

    def shape(self, *, seconds: float, fps: float, width: int, height: int) -> SegmentShape:
        """Segments of about ``seconds``: the model needs a number of frames that is one more than a multiple of its stride.

        Raises:
            ValueError: a size that is not a multiple of the VAE's, or an empty segment.
        """
        frames, pixels = self.strides()
        if width % pixels or height % pixels or min(width, height) < pixels:
            raise ValueError(f"The size is {width}x{height}; both must be multiples of {pixels}, for example 768x512.")
        count = round((seconds * fps - 1) / frames) * frames + 1
        if fps <= 0 or count <= frames:
            raise ValueError(
                f"A segment of {seconds:g} s at {fps:g} fps is too short: at least {frames + 1} frames are needed. Choose a longer one."
            )
        return SegmentShape(count, height, width, fps, int(self.config("audio_vae", "sample_rate")["sample_rate"]))

    def strides(self) -> tuple[int, int]:
        """Frames, and rows or columns of pixels, behind one cell of the video latent."""
        config = self.config("vae", "downsample_type", "patch_size", "patch_size_t")
        frames, pixels = (config.get(f"{axis}_compression_ratio") for axis in ("temporal", "spatial"))
        kinds = config["downsample_type"]
        return (
            frames or config["patch_size_t"] * 2 ** sum("temporal" in kind for kind in kinds),
            pixels or config["patch_size"] * 2 ** sum(kind.startswith("spati") for kind in kinds),
        )

    def text(self, device: torch.device, dtype: torch.dtype) -> LTX2Text:
        """Tokenizer, text encoder and connectors.

        Raises:
            ValueError: they do not fit each other.
        """
        from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

        gemma, config = self.gemma(), self.config("connectors", "caption_channels", "text_proj_in_factor")
        found, wanted = gemma.states(), (config["caption_channels"], config["text_proj_in_factor"])
        if found != wanted:
            raise ValueError(
                f"{gemma.path} gives {found[1]} states of width {found[0]} for each token; {self.path} needs {wanted[1]} of width "
                f"{wanted[0]}. Choose the text encoder of this model: Gemma 3 12B for LTX-2.0 and 2.3, Gemma 4 for 2.5."
            )
        connectors = self.part(LTX2TextConnectors, "connectors", device, dtype)
        return LTX2Text(*gemma.load(device, dtype), connectors)

    def codecs(self, device: torch.device, dtype: torch.dtype) -> LTX2Codecs:
        """Both VAEs."""
        from diffusers.models.autoencoders.autoencoder_kl_ltx2 import AutoencoderKLLTX2Video
        from diffusers.models.autoencoders.autoencoder_kl_ltx2_audio import AutoencoderKLLTX2Audio

        return LTX2Codecs(
            self.part(AutoencoderKLLTX2Video, "vae", device, dtype),
            self.part(AutoencoderKLLTX2Audio, "audio_vae", device, dtype),
        )

    def network(self, device: torch.device, dtype: torch.dtype) -> LTX2Network:
        """The transformer, frozen, computing as ComfyUI's model does."""
        from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformer3DModel

        return LTX2Network(self.sizes(), self.part(LTX2VideoTransformer3DModel, "transformer", device, dtype))
