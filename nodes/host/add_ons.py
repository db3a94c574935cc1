"""Add-on layers trained by the user: where their files are listed, and adding them to a MODEL."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import comfy.model_patcher
import folder_paths

from ...pipelines.core.files import ROOT
from ...pipelines.core.weights import stored_kind
from ...pipelines.models.ltx2.add_ons import LAYERS as LTX_LAYERS
from ...pipelines.models.ltx2.context import OWN_CONTEXT_KIND
from ...pipelines.models.ltx2.pocket_config import CONTEXT_KIND
from ...pipelines.models.pocket.add_ons import LAYERS
from .adapter import ADAPTER_KINDS, with_adapter_layers
from .context import with_context
from .families import place
from .ltx2_layers import with_ltx_layers
from .model import with_add_on

FOLDER = "duet"
CONTEXT_KINDS = (CONTEXT_KIND, OWN_CONTEXT_KIND)
KINDS = (*LAYERS, *LTX_LAYERS, *CONTEXT_KINDS)
for _folder in (Path(folder_paths.models_dir) / FOLDER, ROOT / "runs"):
    folder_paths.add_model_folder_path(FOLDER, str(_folder))


def add_on_files() -> list[str]:
    """The add-on layers in models/duet and in the pack's runs folder, where 'duet train' writes them."""
    roots = [Path(root) for root in folder_paths.get_folder_paths(FOLDER)]
    names = folder_paths.get_filename_list(FOLDER)
    # The host's list may be older than the folders, so that a file of it can be gone.
    return [name for name in names if any(_kind(root / name) in KINDS for root in roots)]


def add_on_path(choice: str) -> Path:
    """The path of an entry of ``add_on_files``.

    Raises:
        ValueError: it no longer exists.
    """
    return place(FOLDER, choice)


def load_add_on(model: comfy.model_patcher.ModelPatcher, choice: str) -> comfy.model_patcher.ModelPatcher:
    """A MODEL with the layers of an entry of ``add_on_files``; LoRA in the file is applied at strength 1.

    Raises:
        ValueError: the file is not of add-on layers or was trained on another base, or the MODEL already has such layers.
    """
    path = add_on_path(choice)
    kind = _kind(path)
    if kind not in KINDS:
        raise ValueError(
            f"{path} holds {f'{kind!r} weights' if kind else 'no Duet weights'}; this node loads {', '.join(KINDS)}."
        )
    if kind in CONTEXT_KINDS:
        return with_context(model, path)
    if kind in LTX_LAYERS:
        return with_ltx_layers(model, kind, path)
    if kind in ADAPTER_KINDS:
        return with_adapter_layers(model, kind, 1.0, path)
    return with_add_on(model, kind, path)


def _kind(path: Path) -> str | None:
    return _kind_at(path, path.stat().st_mtime_ns) if path.suffix == ".safetensors" and path.is_file() else None


@cache
def _kind_at(path: Path, _changed: int) -> str | None:
    return stored_kind(path)
