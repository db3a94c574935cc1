"""The official files of JavisDiT as tensors: one file or shards, safetensors or pickles, with or without a LoRA beside them.

Names are as in the networks here once the wrappers of training are taken off. A LoRA is merged once: where the folder
holds it both inside the base (as training saves it) and on its own, the inside one is dropped.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..catalogue import identify

Tensors = dict[str, Tensor]
WRAPPERS = ("base_model.model.", "module.", "_orig_mod.")
LORA = ".lora_"
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")


def read_tensors(path: Path) -> Tensors:
    """Tensors of a file, or of the file or shards in a folder; of a folder with ``model`` and ``lora``, merged.

    Raises:
        ValueError: nothing there that can be read, a shard is missing, or a pickle holds more than tensors.
    """
    if not (path / "model").is_dir():
        return embedded(_held(path))
    model = _held(path / "model")
    return merged(model, path / "lora") if (path / "lora").is_dir() else embedded(model)


def _held(path: Path) -> Tensors:
    """All tensors of a file or of a folder's files, LoRAs among them as they are."""
    tensors: Tensors = {}
    for file in [path] if path.is_file() else _shards(path):
        tensors |= _read(file)
    return {_plain(name): value for name, value in tensors.items()}


def read_names(path: Path) -> set[str]:
    """The names that ``read_tensors`` would give, of safetensors without reading what they name."""
    path = path / "model" if (path / "model").is_dir() else path
    found: set[str] = set()
    for file in [path] if path.is_file() else _shards(path):
        if file.suffix == ".safetensors":
            try:
                with safe_open(file, framework="pt") as opened:
                    found |= set(opened.keys())
            except SafetensorError as error:
                raise damaged(file, error) from error
        else:
            found |= set(_read(file))
    return {_plain(name) for name in found}


def damaged(file: Path, error: SafetensorError) -> ValueError:
    """What to say of a file that breaks off."""
    return ValueError(f"{file}: not a whole safetensors file ({error}). Download it again.")


def _shards(folder: Path) -> list[Path]:
    """The files of ``folder`` that belong together: those its index names, or all of one kind."""
    for index in sorted(folder.glob("*.index.json")):
        named = sorted(set(described(index, "weight_map")["weight_map"].values()))
        if strange := [name for name in named if Path(name).name != name]:
            raise ValueError(f"{index}: names {strange[0]}, which is not a file beside it. Download it again.")
        missing = [name for name in named if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"{folder}: {index.name} names {missing[0]}, which is not there. Download all {len(named)} shards."
            )
        return [folder / name for name in named]
    for suffix in SUFFIXES:
        files = sorted(file for file in folder.glob(f"*{suffix}"))
        if files:
            return files
    raise ValueError(f"{folder}: no weights here; a folder with {', '.join(SUFFIXES)} files is expected.")


def _read(file: Path) -> Tensors:
    try:
        found = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except SafetensorError as error:
        raise damaged(file, error) from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file}: a pickle with more than tensors, which is not opened. Get a safetensors file."
        ) from error
    if not (isinstance(found, Mapping) and all(isinstance(value, Tensor) for value in found.values())):
        raise ValueError(f"{file}: does not hold tensors by name.")
    return dict(found)


def _plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name.replace(".base_layer.", ".")


def embedded(tensors: Tensors) -> Tensors:
    """``tensors`` with the LoRA that training left among them merged, at the released scale of 16 / 64."""
    return _add(_without_lora(tensors), tensors, 16 / 64)


def _without_lora(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if LORA not in name}


def merged(base: Tensors, folder: Path) -> Tensors:
    """``base`` with the LoRA in ``folder`` added: W + alpha / r B A, r and alpha from its adapter_config.json. A LoRA that
    training left among ``base`` is the same one and is dropped."""
    beside = folder / "adapter_config.json"
    if not beside.is_file():
        raise ValueError(
            f"{folder}: no adapter_config.json beside the LoRA; its scale cannot be known. Download it too."
        )
    config = described(beside, "lora_alpha", "r")
    return _add(_without_lora(base), _held(folder), config["lora_alpha"] / config["r"])


def described(file: Path, *entries: str) -> dict[str, Any]:
    """A JSON object that has ``entries``."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not JSON ({error}). Download it again.") from error
    if not isinstance(found, dict) or any(entry not in found for entry in entries):
        raise ValueError(f"{file}: does not say {' and '.join(entries)}. Download it again.")
    return found


def _add(base: Tensors, lora: Tensors, scale: float) -> Tensors:
    out = dict(base)
    for name, down in lora.items():
        if not name.endswith((".lora_A.weight", ".lora_A.default.weight")):
            continue
        target = f"{name.split(LORA)[0]}.weight"
        if target not in base:
            raise ValueError(f"The LoRA changes {target}, which the base does not have. It belongs to another model.")
        up = lora[name.replace("lora_A", "lora_B")]
        out[target] = (base[target].float() + scale * up.float() @ down.float()).to(base[target].dtype)
    return out


def require(tensors: Tensors, expected: str, *, source: Path) -> Tensors:
    """``tensors`` if they look like ``expected``.

    Raises:
        ValueError: they look like something else, which is named.
    """
    found = identify(tensors)
    if found != expected:
        raise ValueError(f"{source}: this is {found}; here {expected} is needed.")
    return tensors
