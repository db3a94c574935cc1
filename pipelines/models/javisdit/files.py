"""Reads official JavisDiT checkpoints: a single file or shards, safetensors or pickles, with or without a separate LoRA.

The wrappers that training adds to parameter names are removed. A LoRA is merged once: if the folder has it both among the base's
tensors (as training saves it) and in a folder of its own, the copy among the base's tensors is dropped.
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


def read_checkpoint(path: Path) -> Tensors:
    """The tensors of a file, or of the file or shards in a folder, with their LoRA merged. A folder may have its parts in ``model``
    and ``lora``.

    Raises:
        ValueError: there is no readable file, a shard is missing, or a pickle holds more than tensors.
    """
    if not (path / "model").is_dir():
        return merge_embedded_lora(_read_all(path))
    model = _read_all(path / "model")
    return merge_separate_lora(model, path / "lora") if (path / "lora").is_dir() else merge_embedded_lora(model)


def _read_all(path: Path) -> Tensors:
    """All tensors of a file or of a folder's files, unmerged LoRA tensors included."""
    tensors: Tensors = {}
    for file in [path] if path.is_file() else _shards(path):
        tensors |= _read_file(file)
    return {_without_wrappers(name): value for name, value in tensors.items()}


def checkpoint_names(path: Path) -> set[str]:
    """The tensor names in a checkpoint, LoRA included; of safetensors only the header is read."""
    path = path / "model" if (path / "model").is_dir() else path
    found: set[str] = set()
    for file in [path] if path.is_file() else _shards(path):
        if file.suffix == ".safetensors":
            try:
                with safe_open(file, framework="pt") as opened:
                    found |= set(opened.keys())
            except SafetensorError as error:
                raise _damaged(file, error) from error
        else:
            found |= set(_read_file(file))
    return {_without_wrappers(name) for name in found}


def _damaged(file: Path, error: SafetensorError) -> ValueError:
    """The error for a truncated file."""
    return ValueError(f"{file}: not a complete safetensors file ({error}). Download it again.")


def _shards(folder: Path) -> list[Path]:
    """The files of one checkpoint in ``folder``: those that its index lists, or all files of one kind."""
    for index in sorted(folder.glob("*.index.json")):
        named = sorted(set(read_json(index, "weight_map")["weight_map"].values()))
        if foreign := [name for name in named if Path(name).name != name]:
            raise ValueError(
                f"{index}: lists {foreign[0]}, which is not a plain file name in this folder. Download the index again."
            )
        missing = [name for name in named if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"{folder}: {index.name} lists {missing[0]}, which is missing. Download all {len(named)} shards."
            )
        return [folder / name for name in named]
    for suffix in SUFFIXES:
        files = sorted(file for file in folder.glob(f"*{suffix}"))
        if files:
            return files
    raise ValueError(f"{folder}: no weights found; the folder must contain {', '.join(SUFFIXES)} files.")


def _read_file(file: Path) -> Tensors:
    try:
        found = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except SafetensorError as error:
        raise _damaged(file, error) from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file}: a pickle with more than tensors is not opened, because it could run code. Use a safetensors file."
        ) from error
    if not (isinstance(found, Mapping) and all(isinstance(value, Tensor) for value in found.values())):
        raise ValueError(f"{file}: not a dictionary of named tensors. Choose a weights file.")
    return dict(found)


def _without_wrappers(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name.replace(".base_layer.", ".")


def merge_embedded_lora(tensors: Tensors) -> Tensors:
    """``tensors`` with the LoRA that training saved among them merged, at the released scale of 16 / 64."""
    return _add(_without_lora(tensors), tensors, 16 / 64)


def _without_lora(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if LORA not in name}


def merge_separate_lora(base: Tensors, folder: Path) -> Tensors:
    """``base`` with the LoRA in ``folder`` merged: W + alpha / r B A, with r and alpha from its adapter_config.json. The LoRA that
    training saved among the tensors of ``base`` is a copy of it and is dropped."""
    config_file = folder / "adapter_config.json"
    if not config_file.is_file():
        raise ValueError(
            f"{folder}: adapter_config.json is missing, which states the scale of the LoRA. Download it into this folder."
        )
    config = read_json(config_file, "lora_alpha", "r")
    return _add(_without_lora(base), _read_all(folder), config["lora_alpha"] / config["r"])


def read_json(file: Path, *entries: str) -> dict[str, Any]:
    """The JSON object in ``file``.

    Raises:
        ValueError: not JSON, or one of ``entries`` is missing.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not JSON ({error}). Download it again.") from error
    if not isinstance(found, dict) or any(entry not in found for entry in entries):
        raise ValueError(f"{file}: must be a JSON object with {' and '.join(entries)}. Download it again.")
    return found


def _add(base: Tensors, lora: Tensors, scale: float) -> Tensors:
    out = dict(base)
    for name, down in lora.items():
        if not name.endswith((".lora_A.weight", ".lora_A.default.weight")):
            continue
        target = f"{name.split(LORA)[0]}.weight"
        if target not in base:
            raise ValueError(f"The LoRA changes {target}, which the base does not have. Use the LoRA of this model.")
        up = lora[name.replace("lora_A", "lora_B")]
        out[target] = (base[target].float() + scale * up.float() @ down.float()).to(base[target].dtype)
    return out


def require(tensors: Tensors, expected: str, *, source: Path) -> Tensors:
    """``tensors``, if their names identify them as ``expected``.

    Raises:
        ValueError: they are of another model.
    """
    found = identify(tensors)
    if found != expected:
        raise ValueError(f"{source}: this is {found}; {expected} is required. Choose another file.")
    return tensors
