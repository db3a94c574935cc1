"""Weights files: safetensors whose metadata holds their kind, configuration and training record."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .documents import parse_json
from .files import ROOT, atomic_output, share
from .schema import arguments, checked

WEIGHTS = ROOT / "weights"
M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")
# What ``torch.load`` raises for damaged files.
DAMAGED = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError, AttributeError)
KEY = "duet"  # metadata entry of the files that Duet writes


@dataclass(frozen=True)
class WeightsFile:
    """A weights file: its ``kind``, the configuration of its module, the ``record`` of its training, and its tensors."""

    path: Path
    kind: str
    config: dict[str, Any]
    record: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str


def save_weights(
    path: Path,
    tensors: dict[str, Tensor],
    *,
    kind: str,
    config: dict[str, Any],
    record: dict[str, Any],
    extra: dict[str, str] | None = None,
) -> None:
    """Write ``tensors`` with the metadata that ``load_weights`` needs, and entries ``extra`` for other programs."""
    metadata = {KEY: json.dumps({"kind": kind, "config": config, "record": record}, sort_keys=True), **(extra or {})}
    save_tensors(path, tensors, metadata=metadata)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically.

    Raises:
        OSError: the file cannot be written, e.g. because the disk is full.
    """
    try:
        with atomic_output(path) as temporary:
            save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, metadata=metadata)
            share(temporary)
    except SafetensorError as error:
        raise OSError(f"{path} could not be written ({error}). Free disk space or choose another folder.") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of any safetensors file.

    Raises:
        ValueError: missing, not a safetensors file, or a truncated one.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist. Check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - safe_open is not a mapping
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error}). Copy or download it again.") from error


def tensor_shapes(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file without their values, on the meta device: only the header is read.

    Raises:
        ValueError: not a safetensors file, or a truncated one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a mapping
            return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error}). Copy or download it again.") from error


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The named tensors in a file of ``torch.save``. Nothing else is unpickled, because it could run code.

    Raises:
        ValueError: missing, damaged, or with more than named tensors.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist. Check the path.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        raise ValueError(
            f"{path}: a pickle with more than tensors, or a damaged one, is not opened: it could run code. Download it again, or use "
            "safetensors."
        ) from error
    if not (isinstance(found, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items())):
        raise ValueError(f"{path}: not a dictionary of named tensors. Choose a weights file.")
    return dict(found)


def is_ours(path: Path) -> bool:
    """Whether a safetensors file has Duet's metadata; False for a damaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            return KEY in (file.metadata() or {})
    except (SafetensorError, OSError, UnicodeDecodeError):
        return False


def stored_kind(path: Path) -> str | None:
    """The kind of a weights file, read from its header; ``None`` if Duet did not write it, or if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            header = parse_json((file.metadata() or {}).get(KEY, "null"), path)
    except (SafetensorError, OSError, ValueError):
        return None
    kind = header.get("kind") if isinstance(header, dict) else None
    return kind if isinstance(kind, str) else None


def _usable(name: str, value: Tensor) -> bool:
    """Whether a tensor has finite values only. A stored additive attention mask (ImageBind's ``mask``) may also contain -infinity."""
    if not value.is_floating_point():
        return True
    usable = torch.isfinite(value)
    if name.rpartition(".")[2] == "mask":
        usable |= value == -torch.inf
    return bool(usable.all())


def load_weights(path: Path, kind: str) -> WeightsFile:
    """Read a weights file of ``kind``; floating-point tensors become float32.

    Raises:
        ValueError: missing, truncated, not safetensors, not written by Duet, of another kind, or with values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"{path} does not exist. The pocket weights ship in the pack's 'weights' folder: restore it, or choose another file."
        )
    tensors, metadata = read_tensors(path)
    header = parse_json(metadata.get(KEY, "null"), f"{path}, metadata entry {KEY!r}")
    if not isinstance(header, dict) or not {"kind", "config"} <= header.keys():
        raise ValueError(
            f"{path} is a safetensors file that Duet did not write: its metadata has no '{KEY}' entry. Choose a Duet '{kind}' file."
        )
    if header["kind"] != kind:
        raise ValueError(
            f"{path} holds '{str(header['kind'])[:60]}' weights, but '{kind}' weights are required. Choose a file of that kind."
        )
    for entry in ("config", "record"):
        if not isinstance(header.setdefault(entry, {}), dict):
            raise ValueError(f"{path}: the entry {entry!r} of its metadata must be an object. Restore the file.")
    broken = [name for name, value in tensors.items() if not _usable(name, value)]
    if broken:
        raise ValueError(
            f"{path}: tensor '{broken[0]}' contains values that are not finite (NaN or infinity). Copy or download the file again, or "
            "train it again with a lower learning rate."
        )
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return WeightsFile(
        path,
        kind,
        header["config"],
        header["record"],
        {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()},
        sha256,
    )


def fill(module: M, tensors: dict[str, Tensor], *, source: Path) -> M:
    """Load ``tensors`` into ``module`` and freeze it.

    Raises:
        ValueError: missing or unexpected keys, or wrong shapes; ``source`` is named.
    """
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{source} does not fit its own configuration: {' '.join(str(error).split())}") from error
    return module.eval().requires_grad_(False)


def configured(create: Callable[..., T], file: WeightsFile) -> T:
    """``create`` called with the configuration in ``file``; see ``schema.checked``."""
    return checked(create, file.config, source=f"{file.path}: its configuration")


class Uninitialised(TorchFunctionMode):
    """Within the block random initialisation (``normal_``, ``uniform_`` and ``kaiming_uniform_`` of ``torch.nn.init``) leaves tensors as
    they are, for modules that are filled from a file. On the meta device ``normal_`` would also import torch's compiler, which takes
    longer than generating a clip."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return named["tensor"] if "tensor" in named else args[0]
        return func(*args, **named)


def check_sizes(create: Callable[[], nn.Module], tensors: Mapping[str, Tensor], *, source: Path) -> None:
    """Compare ``tensors`` with a module without storage that ``create`` returns, before memory is allocated for it.

    Raises:
        ValueError: missing or unexpected tensors, or wrong shapes; ``source`` is named.
    """
    try:
        with torch.device("meta"), Uninitialised():
            wanted = {name: tuple(value.shape) for name, value in create().state_dict().items()}
    except (ValueError, TypeError, RuntimeError, AssertionError, ArithmeticError, LookupError) as error:
        raise ValueError(f"{source}: no network has the sizes that it states ({error}). Download it again.") from error
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if wanted != found:
        names = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
        raise ValueError(
            f"{source} does not fit its own configuration: {len(names)} tensor(s) differ, the first is {names[0]!r}: "
            f"{found.get(names[0], 'missing')} in the file, {wanted.get(names[0], 'none')} required. Copy or download it again."
        )


def build(create: Callable[[], M], tensors: Mapping[str, Tensor], *, source: Path) -> M:
    """The module that ``create`` returns, filled with ``tensors`` and frozen.

    Raises:
        ValueError: see ``check_sizes``.
    """
    check_sizes(create, tensors, source=source)
    with Uninitialised():
        module = create()
    return fill(module, dict(tensors), source=source)


def assemble(create: Callable[[], M], tensors: Mapping[str, Tensor], *, source: Path) -> M:
    """The module that ``create`` returns, frozen, with ``tensors`` themselves as its parameters and buffers: nothing is copied, and they
    keep their type and device. All buffers of the module must be persistent.

    Raises:
        ValueError: missing or unexpected tensors, or wrong shapes; ``source`` is named.
    """
    check_sizes(create, tensors, source=source)
    with torch.device("meta"), Uninitialised():
        module = create()
    module.load_state_dict(tensors, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def load_module(path: Path, kind: str, create: Callable[..., M], config: type[Any] | None = None) -> M:
    """The module in a weights file of ``kind``. ``config`` is the class of its configuration; None if ``create`` takes the entries
    themselves as arguments.

    Raises:
        ValueError: see ``load_weights``, ``schema.checked`` and ``build``.
    """
    file = load_weights(path, kind)
    if config is None:
        entries = arguments(create, file.config, source=f"{path}: its configuration")
        return build(lambda: create(**entries), file.tensors, source=path)
    sizes = configured(config, file)
    return build(lambda: create(sizes), file.tensors, source=path)


def to_half(module: nn.Module) -> dict[str, Tensor]:
    """A module's state with floating-point tensors as float16, as pocket weights are stored."""
    return {
        name: value.detach().to("cpu", torch.float16) if value.is_floating_point() else value.cpu()
        for name, value in module.state_dict().items()
    }
