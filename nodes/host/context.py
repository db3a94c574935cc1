"""Context tokens in the cross-modal attentions of the host's LTXAV model, as object patches of a MODEL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_base
import comfy.model_patcher
import torch
from torch import Tensor

from ...pipelines.core.streams import Streams
from ...pipelines.core.weights import stored_kind
from ...pipelines.models.addons.context import ContextTokens, before
from ...pipelines.models.ltx2.context import OWN_CONTEXT_KIND, load_context, load_own_context
from .ltx2 import PocketLTXAV

CONTEXT = "duet_context"  # transformer option: this MODEL has context tokens
ROUTES = "duet_context_routes"  # transformer option: whether the video and the audio read the other stream; without it both do
ATTENTIONS = Streams("audio_to_video_attn", "video_to_audio_attn")  # by the stream that reads


def has_context(options: dict[str, Any]) -> bool:
    """Whether the MODEL with these model options has context tokens."""
    return bool(options.get("transformer_options", {}).get(CONTEXT))


def with_context(model: comfy.model_patcher.ModelPatcher, path: Path) -> comfy.model_patcher.ModelPatcher:
    """A MODEL like ``model`` with the context tokens of a file of ``duet train pocket-ltx2-context`` or ``context-tokens``.

    Raises:
        ValueError: the MODEL is not the LTX-2 of the file or already has context tokens, or pocket tokens were trained on another base.
    """
    if has_context(model.model_options):
        raise ValueError(
            "This MODEL already has context tokens. Connect the MODEL from before the node that added them."
        )
    tokens, patched = _tokens(model, path), model.clone()
    options = patched.model_options.setdefault("transformer_options", {})
    patched.model_options["transformer_options"] = {**options, CONTEXT: True}
    for index in range(len(model.model.diffusion_model.transformer_blocks)):
        for stream, attention in vars(ATTENTIONS).items():
            name = f"diffusion_model.transformer_blocks.{index}.{attention}.forward"
            own = read_context(model.get_model_object(name), tokens.of(stream, index), audio=stream == "audio")
            patched.add_object_patch(name, own)
    return patched


def _tokens(model: comfy.model_patcher.ModelPatcher, path: Path) -> ContextTokens:
    """The tokens in ``path`` for the network of ``model``."""
    network, own = model.model, stored_kind(path) == OWN_CONTEXT_KIND
    if isinstance(network, PocketLTXAV) and not own:
        return load_context(path, network.base_hash)
    if own and isinstance(network, comfy.model_base.LTXAV) and not isinstance(network, PocketLTXAV):
        blocks = network.diffusion_model.transformer_blocks
        sizes = {"video_dim": blocks[0].attn1.to_q.in_features, "audio_dim": blocks[0].audio_attn1.to_q.in_features}
        return load_own_context(path, depth=len(blocks), **sizes)
    wanted = "LTX-2" if own else "pocket LTX-2"
    raise ValueError(f"{path} holds context tokens for {wanted}; this is a {type(network).__name__}.")


def read_context(attend: Callable[..., Tensor], tokens: Tensor, *, audio: bool) -> Callable[..., Tensor]:
    """``attend``, a cross-modal attention of the host, with ``tokens`` [c, width] among its keys; with a closed route they are its only
    keys. ``audio``: whether the audio reads."""

    def forward(
        x: Tensor, context: Tensor, pe: Any = None, k_pe: Any = None, transformer_options: Any = None, **kwargs: Any
    ) -> Tensor:
        options = transformer_options or {}
        opened = options.get(ROUTES, (True, True))[audio]
        count, rotation = len(tokens), k_pe if k_pe is not None else pe
        keys = before(tokens, context if opened else context[:, :0])
        placed = _unrotated(rotation, count, context.shape[1] if opened else 0)
        return attend(x, context=keys, pe=pe, k_pe=placed, transformer_options=options, **kwargs)

    return forward


def _unrotated(rotation: tuple[Tensor, bool], count: int, kept: int) -> tuple[Tensor, bool]:
    """The rotation matrices [b, tokens, heads, pairs, 2, 2] of ``count`` keys that are not rotated, and of the first ``kept`` keys."""
    matrices, split = rotation
    shape = (matrices.shape[0], count, *matrices.shape[2:4], 2, 2)
    identity = torch.eye(2, dtype=matrices.dtype, device=matrices.device).expand(shape)
    return torch.cat([identity, matrices[:, :kept]], 1), split
