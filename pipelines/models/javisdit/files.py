"""Reads official JavisDiT checkpoints: a single file or shards, safetensors or pickles, with or without a separate LoRA.

The wrappers that training adds to parameter names are removed. A LoRA is merged once: if the folder has it both among the base's
tensors (as training saves it) and in a folder of its own, the copy among the base's tensors is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from torch import Tensor

from ...core.documents import read_object
from ...core.schema import Between, Width, checked
from ...core.weights import read_pickle, read_tensors, tensor_shapes
from ..catalogue import identify

Tensors = dict[str, Tensor]
WRAPPERS = ("base_model.model.", "module.", "_orig_mod.")
LORA = ".lora_"
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")


@dataclass(frozen=True)
class ShardIndex:
    """An index of shards: tensor name -> file."""

    weight_map: dict[str, str]


@dataclass(frozen=True)
class LoraConfig:
    """The entries of a LoRA's adapter_config.json that determine its scale."""

    r: Width
    lora_alpha: Annotated[float, Between(1e-6, 1e6)]


def read_checkpoint(path: Path) -> Tensors:
    """The tensors of a file, or of the file or shards in a folder, with their LoRA merged. A folder may have its parts in ``model``
    and ``lora``.

    Raises:
        ValueError: there is no readable file, a shard is missing, or a pickle holds more than tensors.
    """
    if not (path / "model").is_dir():
        return merge_embedded_lora(_read_all(path), source=path)
    model = _read_all(path / "model")
    if (path / "lora").is_dir():
        return merge_separate_lora(model, path / "lora")
    return merge_embedded_lora(model, source=path)


def _read_all(path: Path) -> Tensors:
    """All tensors of a file or of a folder's files, unmerged LoRA tensors included."""
    tensors: Tensors = {}
    for file in [path] if path.is_file() else _shards(path):
        tensors |= _read_file(file)
    return {_without_wrappers(name): value for name, value in tensors.items()}


def checkpoint_shapes(path: Path) -> Tensors:
    """The tensors of a checkpoint without their values, LoRA included; of safetensors only the header is read."""
    path = path / "model" if (path / "model").is_dir() else path
    found: Tensors = {}
    for file in [path] if path.is_file() else _shards(path):
        found |= tensor_shapes(file) if file.suffix == ".safetensors" else _read_file(file)
    return {_without_wrappers(name): value.to("meta") for name, value in found.items()}


def _shards(folder: Path) -> list[Path]:
    """The files of one checkpoint in ``folder``: those that its index lists, or all files of one kind."""
    for index in sorted(folder.glob("*.index.json")):
        found = checked(ShardIndex, read_object(index, "weight_map"), source=index, ignore_unknown=True)
        named = sorted(set(found.weight_map.values()))
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
    return read_tensors(file)[0] if file.suffix == ".safetensors" else read_pickle(file)


def _without_wrappers(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name.replace(".base_layer.", ".")


def merge_embedded_lora(tensors: Tensors, *, source: Path) -> Tensors:
    """``tensors`` of ``source`` with the LoRA that training saved among them merged, at the released scale of 16 / 64."""
    return _add(_without_lora(tensors), tensors, 16 / 64, source=source)


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
    config = checked(LoraConfig, read_object(config_file), source=config_file, ignore_unknown=True)
    return _add(_without_lora(base), _read_all(folder), config.lora_alpha / config.r, source=folder)


def _add(base: Tensors, lora: Tensors, scale: float, *, source: Path) -> Tensors:
    out = dict(base)
    for name, down in lora.items():
        if not name.endswith((".lora_A.weight", ".lora_A.default.weight")):
            continue
        target = f"{name.split(LORA)[0]}.weight"
        if target not in base:
            raise ValueError(
                f"{source}: the LoRA changes {target}, which the base does not have. Use the LoRA of this model."
            )
        up = lora.get(name.replace("lora_A", "lora_B"))
        weight = base[target]
        if up is None:
            raise ValueError(f"{source}: the LoRA has {name} without its lora_B. Download the complete LoRA again.")
        if (
            down.ndim != 2
            or up.ndim != 2
            or up.shape[1] != down.shape[0]
            or weight.shape != (up.shape[0], down.shape[1])
        ):
            raise ValueError(
                f"{source}: the LoRA of {target} has factors of shape {tuple(up.shape)} and {tuple(down.shape)}, which do not fit the "
                f"weight's {tuple(weight.shape)}. Use the LoRA of this model."
            )
        out[target] = (weight.float() + scale * up.float() @ down.float()).to(weight.dtype)
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
