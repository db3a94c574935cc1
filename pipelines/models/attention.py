"""Attention layers that all networks of Duet use, and the positions of a stream's tokens.

Letters: b batch, l tokens, m source tokens, n adapter tokens, h heads, d head width, c channels, a axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...kernels.rotary import RotaryTable, rotate

ROTARY_POSITIONS_PER_SECOND = 16.0  # rotary positions in time are seconds times this
Heads = tuple[Tensor, Tensor]  # keys and values, each [b, h, l, d]


@dataclass(frozen=True)
class Geometry:
    """Positions of the tokens of one stream."""

    positions: Float[Tensor, "l a"]  # rotary positions: time, then row and column on a fixed span
    extent: Float[Tensor, " a"]  # rotary position of the far end of the unit cube along each axis
    frames: Tensor  # the video latent frame that each token falls into, [l]
    rotary: RotaryTable  # over all axes, for self-attention
    clock: RotaryTable  # over time only, for cross-modal and adapter attention


def of_tokens(flag: Bool[Tensor, "b ..."], tokens: int) -> Bool[Tensor, "b ..."]:
    """A flag for each latent frame as one for each of ``tokens``; one for each sample stays as it is."""
    return flag if flag.ndim == 1 else flag.repeat_interleave(tokens // flag.shape[1], dim=1)


class Projections(nn.Module):
    """The projections of an attention layer: queries, keys and values by head, with RMS-normalised queries and keys, and W_O."""

    def __init__(self, dim: int, heads: int, *, source_dim: int | None = None, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = operations.Linear(dim, dim, bias=False, **factory)
        self.to_kv = operations.Linear(source_dim or dim, 2 * dim, bias=False, **factory)
        self.norm_q = operations.RMSNorm(dim // heads, eps=1e-6, **factory)
        self.norm_k = operations.RMSNorm(dim // heads, eps=1e-6, **factory)
        self.to_out = operations.Linear(dim, dim, **factory)

    def queries(self, x: Float[Tensor, "b l c"]) -> Float[Tensor, "b h l d"]:
        return self.norm_q(rearrange(self.to_q(x), "b l (h d) -> b h l d", h=self.heads))

    def keys_values(self, x: Float[Tensor, "b l c"]) -> Heads:
        k, v = rearrange(self.to_kv(x), "b l (two h d) -> two b h l d", two=2, h=self.heads)
        return self.norm_k(k), v

    def merge(self, out: Float[Tensor, "b h l d"]) -> Float[Tensor, "b l c"]:
        return self.to_out(rearrange(out, "b h l d -> b l (h d)"))


class Attention(Projections):
    """Multi-head attention; without ``source`` it is self-attention."""

    def forward(
        self,
        x: Float[Tensor, "b l c"],
        source: Float[Tensor, "b m s"] | None = None,
        *,
        rotary: RotaryTable | None = None,
    ) -> Float[Tensor, "b l c"]:
        """``rotary`` rotates queries and keys."""
        q, (k, v) = self.queries(x), self.keys_values(x if source is None else source)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        return self.merge(F.scaled_dot_product_attention(q, k, v))


@dataclass(frozen=True)
class AdapterTokens:
    """Adapter tokens that join the prompt's tokens in text attention. Text tokens have no position; adapter tokens have a time, in
    ``rotary``. ``near`` holds vectors added to the queries and to the keys of these tokens, so that attention is initially local in
    time. ``bias`` is added to their scores, because they can outnumber the text tokens."""

    tokens: Float[Tensor, "b n s"]
    rotary: RotaryTable
    near: tuple[Float[Tensor, "h 1 d"], Float[Tensor, "h 1 d"]]
    bias: Float[Tensor, "h 1 1"]
    shown: Bool[Tensor, " b"] | None = None

    def scores(self, keys: Float[Tensor, "b h n d"]) -> Float[Tensor, "b h 1 n"]:
        """The additive attention mask for their ``keys``: the bias, or -inf for a sample that does not see the tokens."""
        out = self.bias.to(keys).expand(keys.shape[0], -1, -1, keys.shape[2])
        return out if self.shown is None else out.masked_fill(~self.shown[:, None, None, None], -torch.inf)
