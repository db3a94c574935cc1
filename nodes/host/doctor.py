"""The report on installed and missing files: hashes, licences, memory, versions."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfyui_version
import torch

from ...pipelines.media.provenance import version
from ...pipelines.models.catalogue import REPORTED, REPORTED_ON, part
from ...pipelines.models.pocket.provenance import next_step, weights_report
from .families import FAMILIES, FOLDERS, find
from .javisdit import sampling_bytes

GIGA = 1e9
FOR_PRIOR = {"JavisDiT v0.1": ("JavisDiT v0.1's prior", "ImageBind")}


def _versions() -> str:
    device = comfy.model_management.get_torch_device()
    free = comfy.model_management.get_free_memory(device) / GIGA
    return (
        f"Duet {version()}, ComfyUI {comfyui_version.__version__}, torch {torch.__version__}, "
        f"{device} with {free:.1f} GB free"
    )


def _model(patcher: comfy.model_patcher.ModelPatcher) -> str:
    model = patcher.model
    count = sum(parameter.numel() for parameter in model.diffusion_model.parameters())
    name = getattr(model, "title", type(model).__name__)
    return (
        f"MODEL: {name}, {count / 1e6:,.1f} M parameters as {model.get_dtype()}, {patcher.model_size() / GIGA:.2f} GB"
    )


def _found(name: str) -> Path | None:
    try:
        return find(part(name).folder, name)
    except ValueError:
        return None


def _part(name: str) -> str:
    row, path = part(name), _found(name)
    found = f"found    {path}" if path else f"{'MISSING ' if row.required else 'no file '} in models/{row.folder}"
    return (
        f"  {found}\n           {name}, from {row.source}; {row.gigabytes:g} GB in bfloat16; no reference hash; "
        f"licence: {row.licence}"
    )


def _family(name: str) -> list[str]:
    names = (name, *FAMILIES[name].parts.values(), *FOR_PRIOR.get(name, ()))
    working = sampling_bytes(name, height=240, width=426, seconds=4.0) / GIGA
    largest = part(FAMILIES[name].parts["text_encoder"])
    return [
        *(_part(each) for each in names),
        f"  memory, estimated: {part(name).gigabytes:g} GB and about {working:.1f} GB of working memory at 240p, 4 s, with "
        f"guidance; {largest.gigabytes:g} GB beforehand, while {largest.name} encodes the prompt",
    ]


def _next_step(name: str) -> str:
    """What the user can do next with the family ``name``."""
    if not FAMILIES[name].parts:
        return next_step(FAMILIES[name].files, FAMILIES[name].template)
    wanted = (name, *FAMILIES[name].parts.values())
    missing = [each for each in wanted if _found(each) is None]
    if not missing:
        return f"complete; open the template {FAMILIES[name].template}"
    if len(missing) == len(wanted):
        return "not installed; if you want to use it, download the files that are listed as MISSING above, then press R"
    places = "; ".join(f"{each} into models/{part(each).folder}" for each in missing)
    return f"still needed: {places}; then press R and run this node again"


def _next_steps() -> list[str]:
    return [
        "",
        "What to do next",
        *(f"  {name}: {_next_step(name)}" for name in FAMILIES),
        "  LTX-2, MiniMax H3: load them with ComfyUI's own loaders; the templates ltx23_t2v and h3_t2v list every file",
    ]


def report(patcher: comfy.model_patcher.ModelPatcher | None) -> str:
    """The whole report as text; ``patcher`` is an optional MODEL to describe."""
    lines = [_versions()]
    if patcher is not None:
        lines.append(_model(patcher))
    for name, family in FAMILIES.items():
        lines += [
            "",
            f"{name[0].upper()}{name[1:]}",
            *(_family(name) if family.parts else weights_report(family.files)),
        ]
    lines += ["", f"Models supported by ComfyUI itself, as reported by others in {REPORTED_ON}; not verified by us"]
    lines += [f"  {row.name}: {row.files}; licence: {row.licence}; memory: {row.memory}" for row in REPORTED]
    places = ", ".join(f"models/{folder}" for folder in dict.fromkeys(FOLDERS.values()))
    searched = f"Searched in {places}. Pickles are recognised only by their official names."
    return "\n".join([*lines, "", searched, *_next_steps()])
