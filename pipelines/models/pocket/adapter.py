"""SAVA's second stage on the pocket network: what is shared of one stream conditions the other, c = [z; phi(z_other)].

One add-on for each way. phi turns the adapter's tokens into words beside the prompt's, and LoRA on the attention that reads them,
nothing else, learns to use them. Where the adapter carries the other stream, the direct route to it is closed. Ours: its tokens
stand at times (words do not), attention begins near them, and each head looks a little ahead or behind, as in the prior layers.

Letters: b batch, n adapter tokens, d their channels, s channels of a word, r rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ....kernels.rotary import rotary_table
from ...plan import PlacedTokens, sines
from ...streams import Streams
from .add_on import AddOn
from .blocks import Beside, Geometry, StreamBlock
from .network import PocketConfig, TwinStreamDiT
from .prior import near_vectors

V2A, A2V = "v2a", "a2v"
WAYS = {V2A: "audio", A2V: "video"}  # the stream that is made
AXES = {V2A: 3, A2V: 1}  # of the tokens that are read
OCTAVES = 4
# At first the words, some ten, must be neither drowned out (with the prior layers' own length they were) nor alone (-4 for both ways
# left the eight tokens of a sound unread); a picture has 128 tokens.
NEAR, SOFTLY = 0.8, {V2A: -4.0, A2V: -1.0}
LINEAR = ("to_q", "to_kv", "to_out")  # of the text attention: SAVA's conditioning layers
LORA = "diffusion_model."  # before a layer's name in LoRA files, as the host writes them

AdapterTokens = Streams[PlacedTokens]  # for the stream that reads them


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


class LowRank(nn.Module):
    """W + B A on a frozen weight (LoRA; Hu et al., 2021), nothing at first."""

    def __init__(self, weight: Float[Tensor, "o i"], rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
        return weight + self.up @ self.down


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

    def forward(self, given: PlacedTokens, place: Streams[Geometry]) -> Streams[Beside]:
        tokens, geometry = given.tokens, getattr(place, self.stream)
        where = sines(given.places.to(tokens), octaves=OCTAVES).expand(len(tokens), -1, -1)
        times = given.places[:, :1].to(geometry.positions) * geometry.extent[:1]
        turns = rotary_table(times, head_dim=self.head_dim)
        words = self.net(torch.cat([tokens, where], dim=-1))
        return Streams(**{self.stream: Beside(words, turns, (self.near_q, self.near_k), self.bias, given.shown)})


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


def _linear(network: TwinStreamDiT, stream: str) -> Iterator[tuple[str, nn.Linear]]:
    """The conditioning layers of one stream, with their names in the network."""
    for i, pair in enumerate(network.pairs()):
        half: StreamBlock = getattr(pair, stream)
        for name in LINEAR:
            yield f"blocks.{stream}.{i}.text_attention.{name}", getattr(half.text_attention, name)


def add_lora(network: TwinStreamDiT, config: AdapterLayersConfig) -> None:
    """Let LoRA learn on the conditioning layers of the stream that is made."""
    for _, layer in _linear(network, WAYS[config.way]):
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, config.rank))


def lora_tensors(network: TwinStreamDiT, way: str) -> dict[str, Tensor]:
    """What LoRA has learnt, under the names of the host's LoRA files."""
    found = {}
    for name, layer in _linear(network, WAYS[way]):
        low: Any = layer.get_submodule("parametrizations.weight.0")
        found |= {f"{LORA}{name}.lora_up.weight": low.up.detach(), f"{LORA}{name}.lora_down.weight": low.down.detach()}
    return found


@torch.no_grad()
def merge_lora(network: TwinStreamDiT, way: str, tensors: dict[str, Tensor]) -> TwinStreamDiT:
    """``network`` with the LoRA in its weights."""
    for name, layer in _linear(network, WAYS[way]):
        layer.weight += tensors[f"{LORA}{name}.lora_up.weight"] @ tensors[f"{LORA}{name}.lora_down.weight"]
    return network


def carried(
    adapter: AdapterTokens, route: Streams[Bool[Tensor, " b"]]
) -> tuple[dict[str, PlacedTokens], Streams[Bool[Tensor, " b"]]]:
    """Conditions and routes where an adapter carries the other stream: the direct route is closed, and in a branch in which the
    stream is to see nothing of the other one, so does the adapter keep silent."""
    conditions = {
        way: PlacedTokens(tokens.tokens, tokens.places, getattr(route, stream) & _shown(tokens))
        for way, stream in WAYS.items()
        if (tokens := getattr(adapter, stream)) is not None
    }
    return conditions, route.map(lambda flag, tokens: flag if tokens is None else torch.zeros_like(flag), adapter)


def _shown(tokens: PlacedTokens) -> Tensor | bool:
    return True if tokens.shown is None else tokens.shown
