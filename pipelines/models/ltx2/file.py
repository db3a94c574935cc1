"""An official LTX-2 file, as ComfyUI loads it from ``models/checkpoints``: all parts but the text encoder, and their sizes as metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...core.documents import parse_json
from ...core.schema import checked
from ...core.tensor_file import TensorFile
from ...core.weights import assemble, check_sizes
from . import official
from .folder import LTX2Folder
from .gemma import GemmaFile, GemmaFolder, open_gemma
from .keys import PREFIX, PROJECTION, TEXT_PARTS, connectors_to_diffusers, to_diffusers
from .release import LTX2Release
from .sizes import LTX2Sizes, OfficialSizes

AUDIO_STREAM = f"{PREFIX}audio_adaln_single.linear.weight"
LATER_PARTS = {  # entry of the configuration that tensors decide, as in ComfyUI -> the tensor
    "use_keyframes_abs_pos_embedding": f"{PREFIX}keyframes_abs_pos_embedding",
}
MEANS = ("mean-of-means", "std-of-means")  # the statistics of the latents that encoding needs
# Part -> the prefixes of its tensors. Of the VAEs, only what encodes is read.
PARTS = {
    **{
        part: (f"{part}.encoder.", *(f"{part}.per_channel_statistics.{name}" for name in MEANS))
        for part in ("vae", "audio_vae")
    },
    "connectors": (*(f"{PREFIX}{name}" for name in TEXT_PARTS), PROJECTION),
    "transformer": (PREFIX,),
}
ENCODING = ("vae", "audio_vae", "connectors")
METADATA = {part: "transformer" if part == "connectors" else part for part in PARTS}  # where a part's sizes are


@dataclass(frozen=True)
class LTX2File(LTX2Release):
    """Loads the parts of a file, each by itself; ``text_encoder`` names Gemma, which encodes captions."""

    path: Path
    text_encoder: Path | None = None

    @cached_property
    def _file(self) -> TensorFile:
        file = TensorFile.open(self.path)
        if AUDIO_STREAM not in file.shapes:
            raise ValueError(
                f"{self.path} has no tensor {AUDIO_STREAM}: it is not an LTX-2 transformer. Choose a checkpoint of LTX-2, 2.3 or 2.5."
            )
        return file

    def _official(self, part: str) -> dict[str, Any]:
        """The configuration of ``part`` in the metadata."""
        stored = parse_json(self._file.metadata.get("config", "null"), f"{self.path}, metadata entry 'config'")
        found = stored.get(METADATA[part]) if isinstance(stored, dict) else None
        if not isinstance(found, dict):
            raise ValueError(
                f"{self.path}: its metadata have no entry 'config' with the sizes of the {METADATA[part]}. Use the file as it was "
                "released; conversion tools drop this entry."
            )
        return found

    def _names(self, part: str) -> dict[str, str]:
        """diffusers' name -> name in the file."""
        from diffusers.loaders import single_file_utils

        rename: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
            "vae": single_file_utils.convert_ltx2_vae_to_diffusers,
            "audio_vae": single_file_utils.convert_ltx2_audio_vae_to_diffusers,
            "connectors": connectors_to_diffusers,
            "transformer": to_diffusers,
        }
        names = self._file.names(*PARTS[part])
        if not names:
            raise ValueError(
                f"{self.path} holds no {part}: no name of a tensor begins with {PARTS[part][0]!r}. It is a transformer alone. Name the "
                "official file with all parts, for example ltx-2.3-22b-dev.safetensors, or a folder in diffusers' layout (LTX-2.5)."
            )
        return rename[part]({name: name for name in names})

    def config(self, part: str, *entries: str) -> dict[str, Any]:
        if part == "transformer":
            return self.sizes().diffusers()
        own, source = self._official(part), f"{self.path}, {METADATA[part]!r} in its metadata"
        tensors = self._file.without_values(self._names(part))
        if part == "connectors":
            return official.connectors(own, tensors, source=source)
        return (official.video_vae if part == "vae" else official.audio_vae)(own, source=source)

    def part(self, kind: Any, part: str, device: torch.device, dtype: torch.dtype) -> Any:
        names, config = self._names(part), self.config(part)

        def create() -> nn.Module:
            module = kind(**config)
            if hasattr(module, "decoder"):
                module.decoder = nn.Identity()
            return module

        self._file.check_formats(names.values())
        check_sizes(create, self._file.without_values(names), source=self.path)
        return assemble(create, self._file.read(names, device, dtype), source=self.path)

    def sizes(self) -> LTX2Sizes:
        own = self._official("transformer")
        checked(OfficialSizes, own, source=self.path, ignore_unknown=True)
        own |= {name: key in self._file.shapes for name, key in LATER_PARTS.items()}
        return LTX2Sizes(own)

    def fingerprint(self) -> str:
        names = [name for part in ENCODING for name in self._names(part).values()]
        return self._file.digest(names) + (self.gemma().fingerprint() if self.text_encoder else "")

    def gemma(self) -> GemmaFolder | GemmaFile:
        if self.text_encoder is None:
            raise ValueError(
                f"{self.path} holds no text encoder. Name Gemma with --text-encoder: a folder in transformers' layout, or the file in "
                "models/text_encoders (Gemma 3 12B for LTX-2.0 and 2.3)."
            )
        return open_gemma(self.text_encoder)


def open_ltx2(path: Path, text_encoder: Path | None = None) -> LTX2Release:
    """The release in a folder in diffusers' layout, or in an official file with its text encoder.

    Raises:
        ValueError: a folder, which holds its own text encoder, with another one.
    """
    if not path.is_dir():
        return LTX2File(path, text_encoder)
    if text_encoder is not None:
        raise ValueError(
            f"{path} is a folder, which holds its text encoder; --text-encoder belongs to a single file. Leave it out, or name the file."
        )
    return LTX2Folder(path)
