"""Small transformers over latents: self-attention over the tokens of a stream, and learned queries over tokens.

Letters: b batch, l tokens of a stream, m tokens of a source, n queries, c channels, a axes, p channels of a token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..core.conditions import sinusoidal
from .attention import Attention

OCTAVES = 5


@dataclass(frozen=True)
class PerceiverSize:
    """Width, heads and blocks of a perceiver."""

    dim: int
    heads: int
    depth: int = 1


class PerceiverBlock(nn.Module):
    """Pre-norm attention (self-attention, or to a source) and a feed-forward."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm, self.norm_after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, operations=nn)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Float[Tensor, "b l c"], source: Float[Tensor, "b m c"] | None = None) -> Tensor:
        x = x + self.attention(self.norm(x), source)
        return x + self.feed_forward(self.norm_after(x))


class StreamPerceiver(nn.Module):
    """Self-attention over one stream's tokens, with embeddings of their places in the unit cube."""

    def __init__(self, inside: int, axes: int, size: PerceiverSize) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(inside, size.dim), nn.Linear(2 * OCTAVES * axes, size.dim)
        self.blocks = nn.ModuleList(PerceiverBlock(size.dim, size.heads) for _ in range(size.depth))

    def forward(self, tokens: Float[Tensor, "b l p"], places: Float[Tensor, "l a"]) -> Float[Tensor, "b l c"]:
        x = self.embed(tokens) + self.place(sinusoidal(places.to(tokens), octaves=OCTAVES))
        for block in self.blocks:
            x = block(x)
        return x


class QueryPerceiver(nn.Module):
    """Learned queries over a source; each query has an embedding of its place."""

    places: Tensor

    def __init__(self, places: Float[Tensor, "n a"], size: PerceiverSize) -> None:
        super().__init__()
        self.register_buffer("places", sinusoidal(places, octaves=OCTAVES), persistent=False)
        self.queries = nn.Parameter(torch.empty(len(places), size.dim))
        self.place = nn.Linear(self.places.shape[1], size.dim)
        self.blocks = nn.ModuleList(PerceiverBlock(size.dim, size.heads) for _ in range(size.depth))
        nn.init.normal_(self.queries, std=0.02)

    def forward(
        self, states: Float[Tensor, "b m c"], initial: Float[Tensor, "b n c"] | None = None
    ) -> Float[Tensor, "b n c"]:
        """``initial`` is added to the queries."""
        x = (self.queries + self.place(self.places)).expand(len(states), -1, -1)
        x = x if initial is None else x + initial
        for block in self.blocks:
            x = block(x, states)
        return x
