"""Safetensors files that are too large to be read as a whole: their header, and the tensors that are wanted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

UNQUANTISED = ("F64", "F32", "F16", "BF16")
FLOAT8 = ("F8_E4M3", "F8_E5M2")
# Ends of the names of what belongs to a quantised weight; the first two are a weight's scale.
SCALES = ("weight_scale", "scale_weight")
HELPERS = (*SCALES, "input_scale", "scale_input", "comfy_quant", "scaled_fp8")
SMALL = 2**16  # elements of a tensor that ``digest`` reads


@dataclass(frozen=True)
class TensorFile:
    """The header of a safetensors file: its metadata, and the shape and the number format of each tensor."""

    path: Path
    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    formats: dict[str, str]

    @classmethod
    def open(cls, path: Path) -> TensorFile:
        """Read the header.

        Raises:
            ValueError: missing, not a safetensors file, or a truncated one.
        """
        if not path.is_file():
            raise ValueError(f"{path} does not exist. Check the path.")
        with _opened(path) as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - safe_open is not a mapping
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            formats = {name: part.get_dtype() for name, part in slices.items()}
            return cls(path, file.metadata() or {}, shapes, formats)

    def names(self, *prefixes: str) -> list[str]:
        """The names of weights that begin with one of ``prefixes``."""
        return [name for name in self.shapes if name.startswith(prefixes) and not name.endswith(HELPERS)]

    def without_values(self, names: Mapping[str, str]) -> dict[str, Tensor]:
        """Tensors on the meta device under new names. ``names``: new name -> name in the file."""
        return {new: torch.empty(self.shapes[old], device="meta") for new, old in names.items()}

    def check_formats(self, names: Iterable[str]) -> None:
        """Check that ``read`` can read tensors.

        Raises:
            ValueError: one of them is quantised in another way than as float8 with one scale.
        """
        if quantised := [name for name in names if self.formats[name] not in UNQUANTISED and not self._is_float8(name)]:
            raise ValueError(
                f"{self.path}: {quantised[0]} is stored as {self.formats[quantised[0]]}, which is quantised. Encoding and training need "
                "bfloat16, float16, float32, or float8 with one scale for each weight: use the file in bfloat16, or the one in fp8."
            )

    def _scale(self, name: str) -> str | None:
        """The name of the scale of a weight."""
        return next((own for end in SCALES if (own := name.removesuffix("weight") + end) in self.shapes), None)

    def _is_float8(self, name: str) -> bool:
        """Whether a weight is float8 with at most one scale."""
        scale = self._scale(name)
        return self.formats[name] in FLOAT8 and (scale is None or math.prod(self.shapes[scale]) == 1)

    def read(self, names: Mapping[str, str], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """Tensors under new names, as ``dtype`` on ``device``; float8 is multiplied by its scale. ``names``: new name -> name in the file.

        Raises:
            ValueError: see ``check_formats``; or the file is truncated.
        """
        self.check_formats(names.values())
        with _opened(self.path) as file:
            return {new: self._value(file, old, device).to(dtype) for new, old in names.items()}

    def _value(self, file: Any, name: str, device: torch.device) -> Tensor:
        value = file.get_tensor(name).to(device)
        if self.formats[name] in UNQUANTISED:
            return value
        scale = self._scale(name)
        return value.float() * (1.0 if scale is None else file.get_tensor(scale).float().item())

    def raw(self, name: str) -> bytes:
        """The bytes of one tensor."""
        with _opened(self.path) as file:
            return _bytes(file.get_tensor(name))

    def digest(self, names: Iterable[str]) -> str:
        """A hash of the names and shapes of tensors, and of the values of the small ones: a network that was trained further has other
        biases and norms."""
        digest = hashlib.sha256()
        with _opened(self.path) as file:
            for name in sorted(names):
                digest.update(f"{name} {self.shapes[name]}".encode())
                if math.prod(self.shapes[name]) <= SMALL:
                    digest.update(_bytes(file.get_tensor(name)))
        return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error}). Copy or download it again.") from error


def _bytes(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
