"""The pocket adapter, from its weights file."""

from __future__ import annotations

from pathlib import Path

from ...core.weights import load_module
from ..pocket.load import ADD_ONS
from .net import AdapterConfig, MaskedAdapter


def load_adapter(path: Path = ADD_ONS["pocket-adapter"]) -> MaskedAdapter:
    """The masked adapter: projections, masks and predictors.

    Raises:
        ValueError: the file does not hold an adapter.
    """
    return load_module(path, "pocket-adapter", MaskedAdapter, AdapterConfig)
