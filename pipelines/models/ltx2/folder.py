"""An LTX-2 release in diffusers' layout: a folder for each part, with its sizes in ``config.json`` and its weights in safetensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...media.segments import SegmentShape
from ..parts import fingerprint, part_config
from .encoders import LTX2Codecs, LTX2Text
from .network import LTX2Network
from .sizes import LTX2Sizes

# Part -> beginning of the name of its class.
PARTS = {
    "vae": "AutoencoderKLLTX2Video",
    "audio_vae": "AutoencoderKLLTX2Audio",
    "connectors": "LTX2TextConnectors",
    "text_encoder": "Gemma",
    "transformer": "LTX2VideoTransformer3DModel",
}
ENCODING = ("vae", "audio_vae", "connectors", "text_encoder")  # the parts that encode clips


@dataclass(frozen=True)
class LTX2Folder:
    """Loads the parts of a release."""

    path: Path
    name = "ltx2"
    fps = 24.0

    def config(self, part: str, *entries: str) -> dict[str, Any]:
        """The configuration of ``part``, which has ``entries``.

        Raises:
            ValueError: the part is missing or damaged, or belongs to another model.
        """
        config = part_config(self.path / part, PARTS[part])
        if missing := [name for name in entries if name not in config]:
            raise ValueError(f"{self.path / part / 'config.json'} has no entry {missing[0]!r}. Download it again.")
        return config

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

    def fingerprint(self) -> str:
        """A hash of the parts that encode clips."""
        for part in ENCODING:
            self.config(part)
        return fingerprint(self.path / part for part in ENCODING)

    def text(self, device: torch.device, dtype: torch.dtype) -> LTX2Text:
        """Tokenizer, text encoder and connectors."""
        import transformers
        from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

        own = self.config("text_encoder", "architectures")["architectures"][0]
        encoder = getattr(transformers, own).from_pretrained(
            self.path / "text_encoder", dtype=dtype, local_files_only=True, use_safetensors=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.path / "tokenizer", local_files_only=True)
        return LTX2Text(
            tokenizer, encoder.to(device).eval(), self._part(LTX2TextConnectors, "connectors", device, dtype)
        )

    def codecs(self, device: torch.device, dtype: torch.dtype) -> LTX2Codecs:
        """Both VAEs."""
        from diffusers.models.autoencoders.autoencoder_kl_ltx2 import AutoencoderKLLTX2Video
        from diffusers.models.autoencoders.autoencoder_kl_ltx2_audio import AutoencoderKLLTX2Audio

        return LTX2Codecs(
            self._part(AutoencoderKLLTX2Video, "vae", device, dtype),
            self._part(AutoencoderKLLTX2Audio, "audio_vae", device, dtype),
        )

    def sizes(self) -> LTX2Sizes:
        """Sizes of the transformer."""
        return LTX2Sizes.of_diffusers(self.config("transformer"))

    def network(self, device: torch.device, dtype: torch.dtype) -> LTX2Network:
        """The transformer, frozen, computing as ComfyUI's model does."""
        from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformer3DModel

        return LTX2Network(self.sizes(), self._part(LTX2VideoTransformer3DModel, "transformer", device, dtype))

    def _part(self, kind: Any, part: str, device: torch.device, dtype: torch.dtype) -> Any:
        self.config(part)
        try:
            module = kind.from_pretrained(
                self.path / part, torch_dtype=dtype, local_files_only=True, use_safetensors=True
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.path / part} cannot be loaded: {' '.join(str(error).split())[:300]} Copy or download it again."
            ) from error
        return module.to(device).eval().requires_grad_(False)
