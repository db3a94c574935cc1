"""Add-on layers of pocket LTX-2, which the host reads too: nothing here imports diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ...core.streams import Streams
from ..addons.add_on import AddOn, LayerClasses, build_layers
from ..addons.plan import PlanConfig, PlanLayers
from ..attention import Geometry
from ..pocket.geometry import stream_geometry
from .pocket_config import PLAN_FILE, PLAN_KIND, PocketLTX2Config, read_file

LAYERS: dict[str, LayerClasses] = {PLAN_KIND: (PlanConfig, PlanLayers)}  # kind of file -> its classes
FILES = {PLAN_KIND: PLAN_FILE}
TEXT_ATTENTIONS = Streams("attn2", "audio_attn2")  # in a block, by the stream that reads


def load_layers(
    kind: str, config: PocketLTX2Config, base: str, path: Path | None = None, *, operations: object = nn
) -> AddOn:
    """The layers of ``kind`` for the network with hash ``base``, from ``path`` (``None``: the file that ships with the pack).

    Raises:
        ValueError: the file is not there or of another kind, or was trained on another network.
    """
    file = read_file(path or FILES[kind], kind)
    return build_layers(file, file.tensors, LAYERS[kind], config, base, stage=kind, operations=operations)


def folded_geometry(config: PocketLTX2Config, x: Streams[Tensor]) -> Streams[Geometry]:
    """Geometry of the tokens of folded video latents [b, c, t, h, w], one for each cell, and of audio latents [b, c, t]."""
    return stream_geometry(config, x, patch=1)


def beside_text(
    out: Tensor, x: Tensor, layers: nn.ModuleDict, conditions: Mapping[str, Any], geometry: Geometry
) -> Tensor:
    """``out`` of a text attention that read the states ``x``, and what add-on ``layers`` read from the same states. The network's own
    modulation of what comes from the text, where a version of LTX-2 has one, then applies to both."""
    for name, layer in layers.items():
        if name in conditions:
            out = out + layer(x, conditions[name], geometry)
    return out
