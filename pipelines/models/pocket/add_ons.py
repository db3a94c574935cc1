"""Add-on layers of the pocket network: read from their weights files and put on the base."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ...core.conditions import A2V, V2A
from ...core.schema import checked
from ...core.weights import load_weights
from ..addons.adapter import AdapterLayers, AdapterLayersConfig
from ..addons.add_on import AddOn, LayerClasses, Sizes, add_on_config, build_layers
from ..addons.plan import PlanConfig, PlanLayers
from ..addons.prior import PriorLayers, PriorLayersConfig
from ..backbone import Backbone
from ..lora import LoRAConfig
from .load import ADD_ONS, CONDITION_FILES, FILES
from .lora import LORA, lora_shapes, merge_lora
from .network import STREAMS, TwinStreamDiT

TIMED = "pocket-timed"

LAYERS: dict[str, LayerClasses] = {
    "pocket-plan": (PlanConfig, PlanLayers),
    "pocket-prior-layers": (PriorLayersConfig, PriorLayers),
    f"pocket-adapter-{V2A}": (AdapterLayersConfig, AdapterLayers),
    f"pocket-adapter-{A2V}": (AdapterLayersConfig, AdapterLayers),
}  # kind of file -> the classes of its configuration and its layers, in the order in which the layers run in a block


@dataclass(frozen=True)
class LoadedLayers:
    """The layers of one file, and the LoRA in it under the host's names (empty for all but the adapter's files)."""

    layers: AddOn
    lora: dict[str, Tensor]


def load_layers(
    kind: str, network: Sizes, base: str, path: Path | None = None, *, operations: object = nn
) -> LoadedLayers:
    """The layers of ``kind`` for a base with hash ``base``, from ``path`` (``None``: the file that ships with the pack).

    Raises:
        ValueError: the file is of another kind, or was trained on another base.
    """
    file = load_weights(path or ADD_ONS[kind], kind)
    lora = {name: value for name, value in file.tensors.items() if name.startswith(LORA)}
    own = {name: value for name, value in file.tensors.items() if name not in lora}
    stage = kind.removeprefix("pocket-")
    return LoadedLayers(build_layers(file, own, LAYERS[kind], network, base, stage=stage, operations=operations), lora)


def reads_times(base: str) -> bool:
    """Whether the LoRA for timed text that ships was trained on the base with hash ``base``; another base reads timed text untrained."""
    return load_weights(ADD_ONS[TIMED], TIMED).config.get("base") == base


def load_timed_lora(network: TwinStreamDiT, base: str, path: Path | None = None) -> dict[str, Tensor]:
    """The LoRA that reads timed text, under the host's names, for ``network`` with hash ``base``, from ``path`` (``None``: the file that
    ships with the pack).

    Raises:
        ValueError: the file is of another kind, was trained on another base, or does not fit its own configuration.
    """
    file = load_weights(path or ADD_ONS[TIMED], TIMED)
    config = checked(LoRAConfig, add_on_config(file, base, stage="timed"), source=file.path)
    if {name: z.shape for name, z in file.tensors.items()} != lora_shapes(network, STREAMS, rank=config.rank):
        raise ValueError(f"{file.path} does not fit its own configuration. Restore the file or train it again.")
    return file.tensors


def with_add_on(network: Backbone, condition: str) -> TwinStreamDiT:
    """A copy of the shipped base ``network`` that reads ``condition`` ('plan', 'prior', 'adapter' or 'timed').

    Without a plan or a prior the copy's output is bit-identical to the base's. The LoRA of the adapter and of timed text is merged into
    the text attention, so that such a copy reads prompts slightly differently, too.

    Raises:
        ValueError: the layers are for the pocket network, and this is another one.
    """
    if not isinstance(network, TwinStreamDiT):
        raise ValueError(
            f"The {condition} layers that ship with Duet are for the pocket network; this is {type(network).__name__}. Use the model "
            f"'pocket', or leave the {condition} out."
        )
    base, out = load_weights(FILES["pocket-av"], "pocket-av").sha256, deepcopy(network)
    for kind in CONDITION_FILES[condition]:
        if kind in LAYERS:
            loaded = load_layers(kind, out.config, base)
            merge_lora(loaded.layers.install(out), loaded.lora)
        elif kind == TIMED:
            merge_lora(out, load_timed_lora(out, base))
    return out
