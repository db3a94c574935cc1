"""Adapter layers: an add-on with which a backbone reads the tokens that an adapter passes from the other stream (SAVA's second stage),
c = [z; phi(z_other)].

There is one add-on for each direction. phi maps the adapter's tokens to tokens that join the prompt's; apart from phi, only LoRA on the
attention that reads them is trained. Where an adapter supplies the other stream, the direct route to it is closed. Ours: adapter tokens
have a time (text tokens have none), attention is initially local in time, and each head attends slightly ahead or behind, as in the
prior layers.

Letters: b batch, n adapter tokens, d their channels, s channels of a text token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import nn

from ....kernels.rotary import rotary_table
from ...core.conditions import A2V, V2A, WAYS, PlacedTokens, sinusoidal
from ...core.schema import Between, Text, Width
from ..attention import AdapterTokens, Geometry
from .add_on import AddOn, B, Sizes
from .prior import near_vectors

AXES = {V2A: 3, A2V: 1}  # axes of the tokens' places: three for video tokens, one for audio tokens
OCTAVES = 4
# Magnitude of the components that queries and keys share. At the prior layers' value the text tokens received no attention.
NEAR = 0.8
# Initial bias of the scores. The 128 adapter tokens of a video outnumber the text tokens (about ten), which must still receive
# attention; the eight adapter tokens of an audio stream would receive none at -4.
BIAS = {V2A: -4.0, A2V: -1.0}


@dataclass(frozen=True)
class AdapterLayersConfig:
    """The direction, the channels of the adapter's tokens, the rank of the LoRA, and the hash of the adapter."""

    way: Text
    channels: Width
    rank: Annotated[int, Between(1, 4096)]
    adapter: Text

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ValueError(f"The direction is {self.way!r}; it must be {V2A!r} or {A2V!r}.")


class Phi(nn.Module):
    """phi: maps the adapter's tokens and their places to text tokens of the stream that reads them."""

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

    def forward(self, source: PlacedTokens, geometry: Geometry) -> AdapterTokens:
        """``geometry`` is that of the stream that reads the tokens."""
        tokens = source.tokens
        where = sinusoidal(source.places.to(tokens), octaves=OCTAVES).expand(len(tokens), -1, -1)
        times = source.places[:, :1].to(geometry.positions) * geometry.extent[:1]
        rotary = rotary_table(times, head_dim=self.head_dim)
        tokens = self.net(torch.cat([tokens, where], dim=-1))
        return AdapterTokens(tokens, rotary, (self.near_q, self.near_k), self.bias, source.shown)


class AdapterLayers(AddOn):
    """phi of one direction. Its LoRA is merged into the network that it is installed in."""

    config: AdapterLayersConfig

    def __init__(self, config: AdapterLayersConfig, sizes: Sizes, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config, self.NAME = config, config.way
        self.encoder = Phi(config, sizes, operations=operations, **factory)

    def init_weights(self) -> None:
        """Keep torch's own initialisation: the tokens have little effect until the LoRA has learnt to read them."""

    def install(self, network: B) -> B:
        network.adapters[self.NAME] = self.encoder
        return network

    def attentions(self) -> list[nn.Module]:
        """None: the text attention of the blocks reads the tokens."""
        return []
