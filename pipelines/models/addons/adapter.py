"""SAVA's second stage on the pocket network: what is shared of one stream conditions the other, c = [z; phi(z_other)].

One add-on for each way. phi turns the adapter's tokens into words beside the prompt's, and LoRA on the attention that reads them,
nothing else, learns to use them. Where the adapter carries the other stream, the direct route to it is closed. Ours: its tokens
stand at times (words do not), attention begins near them, and each head looks a little ahead or behind, as in the prior layers.

Letters: b batch, n adapter tokens, d their channels, s channels of a word, r rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ....kernels.rotary import rotary_table
from ...core.conditions import A2V, V2A, WAYS, PlacedTokens, sinusoidal
from ...core.streams import Streams
from ..attention import AdapterTokens, Geometry
from ..pocket.network import PocketConfig, TwinStreamDiT
from .add_on import AddOn
from .prior import near_vectors

AXES = {V2A: 3, A2V: 1}  # of the tokens that are read
OCTAVES = 4
# At first the words, some ten, must be neither drowned out (with the prior layers' own length they were) nor alone (-4 for both ways
# left the eight tokens of a sound unread); a picture has 128 tokens.
NEAR, SOFTLY = 0.8, {V2A: -4.0, A2V: -1.0}


@dataclass(frozen=True)
class AdapterLayersConfig:
    """Which way, channels of the adapter's tokens, rank of the LoRA, and the hash of the adapter whose tokens they are."""

    way: str
    channels: int
    rank: int
    adapter: str

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ValueError(f"The way is {self.way!r}; it must be {V2A!r} or {A2V!r}.")


class Phi(nn.Module):
    """phi: the adapter's tokens as words of one stream's prompt, with where they stand."""

    def __init__(self, config: AdapterLayersConfig, network: PocketConfig, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.stream, self.head_dim = WAYS[config.way], network.dim // network.heads
        words, places = network.text_dim, 2 * OCTAVES * AXES[config.way]
        self.net = nn.Sequential(
            operations.Linear(config.channels + places, 2 * words, **factory),
            nn.GELU(),
            operations.Linear(2 * words, words, **factory),
        )
        self.near_q, self.near_k = (nn.Parameter(z[0].to(**factory)) for z in near_vectors(network, NEAR))
        self.bias = nn.Parameter(torch.full((network.heads, 1, 1), SOFTLY[config.way], **factory))

    def forward(self, given: PlacedTokens, place: Streams[Geometry]) -> Streams[AdapterTokens]:
        tokens, geometry = given.tokens, getattr(place, self.stream)
        where = sinusoidal(given.places.to(tokens), octaves=OCTAVES).expand(len(tokens), -1, -1)
        times = given.places[:, :1].to(geometry.positions) * geometry.extent[:1]
        turns = rotary_table(times, head_dim=self.head_dim)
        words = self.net(torch.cat([tokens, where], dim=-1))
        return Streams(**{self.stream: AdapterTokens(words, turns, (self.near_q, self.near_k), self.bias, given.shown)})


class AdapterLayers(AddOn):
    """phi of one way; its LoRA lives in the network it is put on (``add_lora``, ``merge_lora``)."""

    config: AdapterLayersConfig

    def __init__(
        self, config: AdapterLayersConfig, network: PocketConfig, *, operations: Any = nn, **factory: Any
    ) -> None:
        super().__init__()
        self.config, self.NAME = config, config.way
        self.encoder = Phi(config, network, operations=operations, **factory)

    def init_weights(self) -> None:
        """Torch's own: until LoRA has learnt to read them, the words say little."""

    def install(self, network: TwinStreamDiT) -> TwinStreamDiT:
        network.add_ons[self.NAME] = self.encoder
        return network

    def attentions(self) -> list[nn.Module]:
        """None of its own: the words are read by the text attention."""
        return []
