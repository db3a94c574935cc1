"""Adapter layers: an add-on with which a backbone reads what an adapter passes on from the other stream (SAVA's second stage),
c = [z; phi(z_other)].

There is one add-on for each direction. phi turns the adapter's tokens into tokens that join the prompt's; apart from phi, only LoRA on
the attention that reads them is trained. Where an adapter supplies the other stream, the direct route to it is closed. Ours: adapter
tokens have a time (text tokens have none), attention starts out local in time, and each head looks a little ahead or behind, as in the
prior layers.

Letters: b batch, n adapter tokens, d their channels, s channels of a text token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ....kernels.rotary import rotary_table
from ...core.conditions import A2V, V2A, WAYS, PlacedTokens, sinusoidal
from ..attention import AdapterTokens, Geometry
from .add_on import AddOn, B, Sizes
from .prior import near_vectors

AXES = {V2A: 3, A2V: 1}  # of the places of the tokens that are read
OCTAVES = 4
NEAR = (
    0.8  # size of the numbers that queries and keys share; with the prior layers' own size the text tokens went unread
)
# Initial bias of the scores. A video has 128 adapter tokens beside about ten text tokens, which must not be drowned out; the eight
# tokens of an audio stay unread at -4.
BIAS = {V2A: -4.0, A2V: -1.0}


@dataclass(frozen=True)
class AdapterLayersConfig:
    """The direction, the channels of the adapter's tokens, the rank of the LoRA, and the hash of the adapter."""

    way: str
    channels: int
    rank: int
    adapter: str

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ValueError(f"The direction is {self.way!r}; it must be {V2A!r} or {A2V!r}.")


class Phi(nn.Module):
    """phi: the adapter's tokens, with their places, as text tokens of the stream that reads them."""

    def __init__(self, config: AdapterLayersConfig, sizes: Sizes, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.head_dim = sizes.dim // sizes.heads
        text_dim, places = sizes.text_dim, 2 * OCTAVES * AXES[config.way]
        self.net = nn.Sequential(
            operations.Linear(config.channels + places, 2 * text_dim, **factory),
            nn.GELU(),
            operations.Linear(2 * text_dim, text_dim, **factory),
        )
        self.near_q, self.near_k = (nn.Parameter(z[0].to(**factory)) for z in near_vectors(sizes, NEAR))
        self.bias = nn.Parameter(torch.full((sizes.heads, 1, 1), BIAS[config.way], **factory))

    def forward(self, placed: PlacedTokens, geometry: Geometry) -> AdapterTokens:
        """``geometry`` is that of the stream that reads the tokens."""
        tokens = placed.tokens
        where = sinusoidal(placed.places.to(tokens), octaves=OCTAVES).expand(len(tokens), -1, -1)
        times = placed.places[:, :1].to(geometry.positions) * geometry.extent[:1]
        rotary = rotary_table(times, head_dim=self.head_dim)
        tokens = self.net(torch.cat([tokens, where], dim=-1))
        return AdapterTokens(tokens, rotary, (self.near_q, self.near_k), self.bias, placed.shown)


class AdapterLayers(AddOn):
    """phi of one direction. Its LoRA lives in the network that it is put on."""

    config: AdapterLayersConfig

    def __init__(self, config: AdapterLayersConfig, sizes: Sizes, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config, self.NAME = config, config.way
        self.encoder = Phi(config, sizes, operations=operations, **factory)

    def init_weights(self) -> None:
        """Torch's own initialisation: until the LoRA has learnt to read them, the tokens have little effect."""

    def install(self, network: B) -> B:
        network.adapters[self.NAME] = self.encoder
        return network

    def attentions(self) -> list[nn.Module]:
        """No layers in the blocks: the text attention reads the tokens."""
        return []
