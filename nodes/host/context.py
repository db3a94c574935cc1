"""Context tokens in the cross-modal attentions of the host's LTXAV model, as object patches of a MODEL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_patcher
import torch
from torch import Tensor

from ...pipelines.core.streams import Streams
from ...pipelines.models.addons.context import before
from ...pipelines.models.ltx2.context import load_context
from .ltx2 import PocketLTXAV

CONTEXT = "duet_context"  # transformer option: this MODEL has context tokens
ROUTES = "duet_context_routes"  # transformer option: whether the video and the audio read the other stream; without it both do
ATTENTIONS = Streams("audio_to_video_attn", "video_to_audio_attn")  # by the stream that reads


def has_context(options: dict[str, Any]) -> bool:
    """Whether the MODEL with these model options has context tokens."""
    return bool(options.get("transformer_options", {}).get(CONTEXT))


def with_context(model: comfy.model_patcher.ModelPatcher, path: Path) -> comfy.model_patcher.ModelPatcher:
    """A MODEL like ``model`` with the context tokens of a file of ``duet train pocket-ltx2-context``.

    Raises:
        ValueError: the MODEL is not pocket LTX-2 or already has context tokens, or the tokens were trained on another base.
    """
    if not isinstance(model.model, PocketLTXAV):
        raise ValueError(f"{path} holds context tokens for pocket LTX-2; this is a {type(model.model).__name__}.")
    if has_context(model.model_options):
        raise ValueError(
            "This MODEL already has context tokens. Connect the MODEL from before the node that added them."
        )
    tokens, patched = load_context(path, model.model.base_hash), model.clone()
    options = patched.model_options.setdefault("transformer_options", {})
    patched.model_options["transformer_options"] = {**options, CONTEXT: True}
    for index in range(len(model.model.diffusion_model.transformer_blocks)):
        for stream, attention in vars(ATTENTIONS).items():
            name = f"diffusion_model.transformer_blocks.{index}.{attention}.forward"
            own = read_context(model.get_model_object(name), tokens.of(stream, index), audio=stream == "audio")
            patched.add_object_patch(name, own)
    return patched


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
