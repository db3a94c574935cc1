"""Loading the planner, saved plans and language models in the host. The pocket planner is small and runs on the CPU."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import folder_paths

from ...pipelines.models.ltx2.pocket_config import PLAN_KIND
from ...pipelines.models.planner.load import load_planner
from ...pipelines.models.planner.planner import VAPlanner
from ...pipelines.models.planner.qwen import QwenPlanner, is_qwen, load_qwen
from .ltx2 import PocketLTXAV
from .ltx2_layers import with_ltx_layers
from .model import with_add_on


def load_plan(model: comfy.model_patcher.ModelPatcher) -> tuple[comfy.model_patcher.ModelPatcher, VAPlanner]:
    """A MODEL with plan layers, and the planner that generates plans.

    Raises:
        ValueError: the MODEL is neither the pocket model nor pocket LTX-2, or already has plan layers.
    """
    if isinstance(model.model, PocketLTXAV):
        return with_ltx_layers(model, PLAN_KIND), load_planner()
    return with_add_on(model, "pocket-plan"), load_planner()


PLAN_SUFFIX = ".plan.json"
LANGUAGE_FOLDERS = ("text_encoders", "LLM")


def plan_files() -> list[str]:
    """Saved plans in the input folder, and in the output folder (with the host's suffix ' [output]')."""
    found = []
    for mark, folder in (("", folder_paths.get_input_directory()), (" [output]", folder_paths.get_output_directory())):
        paths = sorted(Path(folder).rglob(f"*{PLAN_SUFFIX}"))
        found += [f"{path.relative_to(folder).as_posix()}{mark}" for path in paths]
    return found


def plan_file(choice: str) -> Path:
    """The path of an entry of ``plan_files``.

    Raises:
        ValueError: it no longer exists, or is outside those folders.
    """
    if choice not in plan_files():
        raise ValueError(f"{choice!r} is not among the saved plans. Save one, or refresh the list with R.")
    return Path(folder_paths.get_annotated_filepath(choice))


def language_folders() -> list[str]:
    """Names of the installed Qwen3 folders."""
    return list(_language_folders())


def language_folder(choice: str) -> Path:
    """The path of an entry of ``language_folders``.

    Raises:
        ValueError: it does not exist.
    """
    try:
        return _language_folders()[choice]
    except KeyError:
        raise ValueError(
            f"{choice!r} is not a Qwen3 folder in models/text_encoders or models/LLM. Copy a complete Qwen3 folder there and "
            "press R."
        ) from None


def _language_folders() -> dict[str, Path]:
    roots = [Path(p) for name in LANGUAGE_FOLDERS for p in folder_paths.folder_names_and_paths.get(name, ([],))[0]]
    configs = [config for root in roots for config in sorted(root.glob("*/config.json"))]
    return {config.parent.name: config.parent for config in configs if is_qwen(config.parent)}


def load_writer(folder: Path) -> QwenPlanner:
    """A Qwen3 on the host's text encoder device."""
    planner = load_qwen(folder)
    planner.model.to(comfy.model_management.text_encoder_device())
    return planner
