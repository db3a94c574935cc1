"""The pocket adapter, from its weights file."""

from __future__ import annotations

from pathlib import Path

from ...core.weights import fill, load_weights
from ..pocket.load import ADD_ONS, configured
from .net import AdapterConfig, MaskedAdapter


def load_adapter(path: Path = ADD_ONS["pocket-adapter"]) -> MaskedAdapter:
    """The masked adapter: projections, masks and predictors.

    Raises:
        ValueError: the file does not hold an adapter.
    """
    file = load_weights(path, "pocket-adapter")
    net = MaskedAdapter(configured(lambda **config: AdapterConfig(**config), file))
    return fill(net, file.tensors, source=file.path)
