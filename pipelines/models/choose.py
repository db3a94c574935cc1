"""The models that generate clips without ComfyUI, by the names that the command line uses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .pocket.load import PocketModel

POCKET, POCKET_LTX2, POCKET_LTX2_CONTEXT = "pocket", "pocket-ltx2", "pocket-ltx2-context"
MODELS = (POCKET, POCKET_LTX2, POCKET_LTX2_CONTEXT)


def load_model(name: str) -> PocketModel:
    """The model ``name`` of ``MODELS``, from the weights that ship with the pack.

    Raises:
        ValueError: its weights or a package that it needs are missing.
    """
    if name == POCKET:
        from .pocket.load import PocketModel

        return PocketModel.load()
    from .ltx2.pocket_config import CONTEXT_FILE, CONTEXT_KIND, read_file, require_diffusers

    require_diffusers()
    read_file()  # names the command that trains a missing file before diffusers is imported, which takes seconds
    context = CONTEXT_FILE if name == POCKET_LTX2_CONTEXT else None
    if context is not None:
        read_file(context, CONTEXT_KIND)
    from .ltx2.load import load_pocket_ltx2_model

    return load_pocket_ltx2_model(context=context)


def model_files(name: str) -> dict[str, Path]:
    """The weights files of the model ``name`` by their kinds."""
    from .ltx2.pocket_config import CONTEXT_FILE, CONTEXT_KIND, FILE, KIND
    from .pocket.load import FILES

    if name == POCKET:
        return FILES
    own = {KIND: FILE, **({CONTEXT_KIND: CONTEXT_FILE} if name == POCKET_LTX2_CONTEXT else {})}
    return {**own, **{kind: path for kind, path in FILES.items() if kind != "pocket-av"}}


def condition_files(model: str, condition: str) -> dict[str, Path]:
    """The files of the layers with which the model ``model`` of ``MODELS`` reads ``condition`` ('plan', 'prior', 'adapter' or 'timed'), and
    of what makes the condition, by their kinds; empty if there are no such layers for it."""
    from .ltx2 import pocket_config as ltx2
    from .pocket.load import ADD_ONS, CONDITION_FILES

    if model == POCKET:
        return {kind: ADD_ONS[kind] for kind in CONDITION_FILES[condition]}
    planner = {kind: ADD_ONS[kind] for kind in CONDITION_FILES["plan"] if kind != "pocket-plan"}
    own = {"plan": {ltx2.PLAN_KIND: ltx2.PLAN_FILE, **planner}, "timed": {ltx2.TIMED_KIND: ltx2.TIMED_FILE}}
    return own.get(condition, {})


def with_condition(model: PocketModel, condition: str) -> PocketModel:
    """The model with the layers that read ``condition`` ('plan', 'prior' or 'adapter').

    Raises:
        ValueError: there are no such layers for it, or they were trained on another base.
    """
    from .ltx2 import pocket_config as ltx2
    from .pocket.add_ons import with_add_on

    if (base := model.files.get(ltx2.KIND)) is None or condition != "plan":
        files = {**model.files, **condition_files(POCKET, condition)}
        return replace(model, network=with_add_on(model.network, condition), files=files)
    from .ltx2.load import PocketLTX2, with_layers

    assert isinstance(model.network, PocketLTX2)
    network = with_layers(model.network, ltx2.PLAN_KIND, ltx2.read_file(base).sha256)
    return replace(model, network=network, files={**model.files, **condition_files(POCKET_LTX2, condition)})


def with_timed_text(model: PocketModel) -> PocketModel:
    """The model with the LoRA that was trained to read timed text. A base that the LoRA was not trained on reads timed text as it is."""
    from ..core.weights import load_weights
    from .ltx2 import pocket_config as ltx2
    from .pocket.add_ons import reads_times, with_add_on

    if (base := model.files.get(ltx2.KIND)) is not None:
        from .ltx2.load import PocketLTX2, with_timed_lora

        file = ltx2.read_file(base)
        if not ltx2.reads_times(file.sha256):
            return model
        assert isinstance(model.network, PocketLTX2)
        files = {**model.files, **condition_files(POCKET_LTX2, "timed")}
        return replace(model, network=with_timed_lora(model.network, file.sha256), files=files)
    base = model.files.get("pocket-av")
    if base is None or not reads_times(load_weights(base, "pocket-av").sha256):
        return model
    files = {**model.files, **condition_files(POCKET, "timed")}
    return replace(model, network=with_add_on(model.network, "timed"), files=files)
