"""The pocket adapter and the layers that read it, from their weights files."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from torch import Tensor, nn

from ...core.conditions import WAYS
from ...core.weights import fill, load_weights
from ..addons.adapter import AdapterLayers, AdapterLayersConfig
from ..addons.add_on import add_on_config
from ..pocket.load import ADD_ONS, FILES, configured
from ..pocket.lora import LORA, merge_lora
from ..pocket.network import PocketConfig, TwinStreamDiT
from .net import AdapterConfig, MaskedAdapter


def load_adapter(path: Path = ADD_ONS["pocket-adapter"]) -> MaskedAdapter:
    """Projections, masks and predictors.

    Raises:
        ValueError: the file is not of an adapter.
    """
    file = load_weights(path, "pocket-adapter")
    net = MaskedAdapter(configured(lambda **config: AdapterConfig(**config), file))
    return fill(net, file.tensors, source=file.path)


def layers_file(way: str) -> Path:
    """Where the layers of one way ship."""
    return ADD_ONS[f"pocket-adapter-{way}"]


def load_adapter_layers(
    network: PocketConfig, base: str, path: Path, *, operations: object = nn
) -> tuple[AdapterLayers, dict[str, Tensor]]:
    """phi for a base of hash ``base``, and the LoRA in the host's layout.

    Raises:
        ValueError: the file is not of adapter layers, or was trained on another base.
    """
    file = load_weights(path, path.stem)
    config = AdapterLayersConfig(**add_on_config(file, base))
    lora = {name: value for name, value in file.tensors.items() if name.startswith(LORA)}
    own = {name: value for name, value in file.tensors.items() if name not in lora}
    return fill(AdapterLayers(config, network, operations=operations), own, source=file.path), lora


def with_adapter(network: TwinStreamDiT) -> TwinStreamDiT:
    """A copy of the shipped base that reads both ways of the adapter: its words are read a little differently, too, as LoRA is in
    its weights."""
    base, adapted = load_weights(FILES["pocket-av"], "pocket-av").sha256, deepcopy(network)
    for way in WAYS:
        layers, lora = load_adapter_layers(network.config, base, layers_file(way))
        merge_lora(layers.install(adapted), way, lora)
    return adapted
