"""The host's attention function for Duet's networks, so that sage, flash and xformers attention and overrides by other nodes apply."""

from __future__ import annotations

from typing import Any

from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from ...pipelines.models.javisdit.layers import Attend


def host_attention(options: dict[str, Any]) -> Attend:
    """``attend(q, k, v[, mask])`` of [b, h, l, d] by the function that the host was started with, or by the override in ``options``, the
    transformer options of a pass. ``mask`` is added to the logits: [1, keys], the same for every query."""

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return optimized_attention(
            q,
            k,
            v,
            heads=q.shape[1],
            mask=None if mask is None else mask.expand(q.shape[-2], -1),
            skip_reshape=True,
            skip_output_reshape=True,
            transformer_options=options,
        )

    return attend
