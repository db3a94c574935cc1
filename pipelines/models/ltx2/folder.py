"""An LTX-2 release in diffusers' layout: a folder for each part, with its sizes in ``config.json`` and its weights in safetensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...core.pretrained import load_part
from ..parts import fingerprint, part_config
from .gemma import GemmaFolder
from .release import LTX2Release
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
class LTX2Folder(LTX2Release):
    """Loads the parts of a release."""

    path: Path

    def config(self, part: str, *entries: str) -> dict[str, Any]:
        return part_config(self.path / part, PARTS[part], *entries)

    def fingerprint(self) -> str:
        for part in ENCODING:
            self.config(part)
        return fingerprint(self.path / part for part in ENCODING)

    def gemma(self) -> GemmaFolder:
        return GemmaFolder(self.path / "text_encoder", self.path / "tokenizer")

    def sizes(self) -> LTX2Sizes:
        return LTX2Sizes.of_diffusers(self.config("transformer"))

    def part(self, kind: Any, part: str, device: torch.device, dtype: torch.dtype) -> Any:
        self.config(part)
        module = load_part(kind, self.path / part, torch_dtype=dtype, use_safetensors=True)
        return module.to(device).eval().requires_grad_(False)
