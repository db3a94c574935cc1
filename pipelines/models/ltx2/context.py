"""The file of context tokens for pocket LTX-2, which the host reads too: nothing here imports diffusers."""

from __future__ import annotations

from pathlib import Path

from ...core.schema import checked
from ...core.weights import build, load_weights
from ..addons.add_on import add_on_config
from ..addons.context import ContextConfig, ContextTokens
from .pocket_config import CONTEXT_KIND


def load_context(path: Path, base: str) -> ContextTokens:
    """The context tokens in a file of ``duet train pocket-ltx2-context``, for the network with hash ``base``.

    Raises:
        ValueError: not such a file, or trained on another network.
    """
    file = load_weights(path, CONTEXT_KIND)
    config = checked(ContextConfig, add_on_config(file, base, stage=CONTEXT_KIND), source=path)
    return build(lambda: ContextTokens(config), file.tensors, source=path)
