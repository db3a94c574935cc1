"""Files of context tokens for pocket LTX-2 and for LTX-2, which the host reads too: nothing here imports diffusers."""

from __future__ import annotations

from pathlib import Path

from ...core.schema import checked
from ...core.weights import build, load_weights
from ..addons.add_on import add_on_config
from ..addons.context import ContextConfig, ContextTokens
from .pocket_config import CONTEXT_KIND
from .sizes import LTX2Sizes

OWN_CONTEXT_KIND = "ltx2-context"  # of files for LTX-2 of the user's own


def context_config(sizes: LTX2Sizes) -> ContextConfig:
    """The sizes of context tokens for LTX-2."""
    video, audio = sizes.widths
    return ContextConfig(depth=sizes.official["num_layers"], video_dim=video, audio_dim=audio)


def load_context(path: Path, base: str) -> ContextTokens:
    """The context tokens in a file of ``duet train pocket-ltx2-context``, for the network with hash ``base``.

    Raises:
        ValueError: not such a file, or trained on another network.
    """
    file = load_weights(path, CONTEXT_KIND)
    config = checked(ContextConfig, add_on_config(file, base, stage=CONTEXT_KIND), source=path)
    return build(lambda: ContextTokens(config), file.tensors, source=path)


def load_own_context(path: Path, *, depth: int, video_dim: int, audio_dim: int) -> ContextTokens:
    """The context tokens in a file of ``duet train context-tokens``, for an LTX-2 of these sizes. Which LTX-2 it was trained on cannot be
    checked: ComfyUI does not keep the file of a MODEL, and quantised copies are the same network.

    Raises:
        ValueError: not such a file, or for a network of other sizes.
    """
    file = load_weights(path, OWN_CONTEXT_KIND)
    config = checked(ContextConfig, file.config, source=path)
    own, sizes = (config.depth, config.video_dim, config.audio_dim), (depth, video_dim, audio_dim)
    if own != sizes:
        raise ValueError(
            f"{path} holds context tokens for an LTX-2 with {own[0]} blocks of widths {own[1]} and {own[2]}; this MODEL has {sizes[0]} of "
            f"{sizes[1]} and {sizes[2]}. Load the LTX-2 that they were trained on."
        )
    return build(lambda: ContextTokens(config), file.tensors, source=path)
