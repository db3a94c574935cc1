"""Prior layers of the pocket network: an add-on on the frozen base (JavisDiT's spatial and temporal prior attention).

The base tells tokens apart in time only by distance, and the paper's prior tokens stand nowhere; here both turn by where they
are (our addition, as Relative Semantic RoPE has it for plans): temporal tokens stand at times, spatial ones at rows and columns.
What a draw says lies in all of its tokens together; so that attention, which reads them one by one, finds it, each carries what
the draw's layout has for its time (temporal) or for the whole clip (spatial), read as the prior net reads it (ours too). Without
the two the layers changed nothing in 700 steps.

Letters: b batch, l latent tokens, n prior tokens, k channels of one, c channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ....kernels.rotary import RotaryTable, rotary_table, rotate
from ...core.conditions import BatchPrior
from ...core.streams import Streams
from ...core.timeline import PLACES
from ..attention import Geometry, Projections
from ..pocket.network import PocketConfig
from ..prior.clip import LayoutReader, spatial_places, temporal_places
from .add_on import AddOn

NEAR = 2.0  # length of what queries and keys share; with it attention falls to a tenth within some 0.1 s
APART = (
    0.8  # between the offsets of two heads, in sixteenths of a second: six heads cover a latent frame of the picture
)
LOUD = 4.0  # factor on a layout beside the tokens, whose channels are of unit size and mostly noise


@dataclass(frozen=True)
class PriorLayersConfig:
    """How many tokens a prior has, and their channels."""

    spatial: int
    temporal: int
    channels: int
    bins: int  # of a layout


@dataclass(frozen=True)
class Placed:
    """One kind of prior tokens as the blocks of one stream read them; ``turns`` place queries and keys, None where the stream has no
    such axes."""

    tokens: Float[Tensor, "b n c"]
    turns: tuple[RotaryTable, RotaryTable] | None


@dataclass(frozen=True)
class Ready:
    """Both kinds; ``shown`` hides a sample's where False."""

    spatial: Placed
    temporal: Placed
    shown: Bool[Tensor, " b"] | None


class PriorProjector(nn.Module):
    """Prior tokens to the network's width, each with what the draw's layout has for it, and at the places they stand for."""

    def __init__(self, config: PriorLayersConfig, network: PocketConfig, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        shared, dim = {"operations": operations, **factory}, network.dim
        self.config, self.head_dim = config, dim // network.heads

        def make(inside: int) -> nn.Sequential:
            return nn.Sequential(
                operations.Linear(inside, dim, **factory), nn.GELU(), operations.Linear(dim, dim, **factory)
            )

        self.reader = LayoutReader((config.spatial + config.temporal) * config.channels, config.bins, **shared)
        self.spatial = make(config.channels + len(PLACES))
        self.temporal = make(config.channels + len(PLACES) * (config.bins // config.temporal))

    def check(self, spatial: Float[Tensor, "b ns k"], temporal: Float[Tensor, "b nt k"]) -> None:
        """Refuse tokens of another model's prior.

        Raises:
            ValueError: their number or their channels are not what these layers read.
        """
        made = (spatial.shape[1], temporal.shape[1], spatial.shape[2])
        read = (self.config.spatial, self.config.temporal, self.config.channels)
        if made != read:
            raise ValueError(
                f"The prior has {made[0]} + {made[1]} tokens of {made[2]} channels; the pocket model reads {read[0]} + {read[1]} of "
                f"{read[2]}. Use the prior net of the same 'Duet Load Prior'."
            )

    def forward(self, prior: BatchPrior, place: Streams[Geometry]) -> Streams[Ready]:
        layout = LOUD * self.reader(torch.cat([prior.spatial, prior.temporal], dim=1)).sigmoid()  # b places bins
        when = rearrange(layout, "b p (n each) -> b n (p each)", n=self.config.temporal)
        where = layout.amax(2)[:, None].expand(-1, self.config.spatial, -1)
        spatial = self.spatial(torch.cat([prior.spatial, where], dim=-1))
        temporal = self.temporal(torch.cat([prior.temporal, when], dim=-1))

        def put(geometry: Geometry) -> Ready:
            turns = [
                self._turns(geometry, axes, places)
                for axes, places in (
                    (slice(1, None), spatial_places(self.config.spatial)),
                    (slice(0, 1), temporal_places(self.config.temporal)),
                )
            ]
            return Ready(Placed(spatial, turns[0]), Placed(temporal, turns[1]), prior.shown)

        return place.map(put)

    def _turns(
        self, geometry: Geometry, axes: slice, places: Float[Tensor, "n a"]
    ) -> tuple[RotaryTable, RotaryTable] | None:
        """Rotary tables of a stream's tokens and of the prior's, along ``axes``."""
        positions, extent = geometry.positions[:, axes], geometry.extent[axes]
        if not len(extent):
            return None
        keys = places.to(positions) * extent
        return rotary_table(positions, head_dim=self.head_dim), rotary_table(keys, head_dim=self.head_dim)


def near_vectors(
    network: PocketConfig, length: float = NEAR
) -> tuple[Float[Tensor, "1 h 1 d"], Float[Tensor, "1 h 1 d"]]:
    """What is added to queries and keys before they turn, so that attention begins near: the keys' is turned back by another offset in
    each head, which looks a little ahead or behind. ``length`` is of each of their numbers."""
    here = torch.full((1, network.heads, 1, network.dim // network.heads), length)
    offsets = (torch.arange(network.heads) - (network.heads - 1) / 2)[:, None] * APART
    return here, rotate(here.transpose(1, 2), rotary_table(-offsets, head_dim=here.shape[-1])).transpose(1, 2)


class PlacedAttention(Projections):
    """Attention that begins near: queries and keys share a vector, whose turned product is largest where both stand
    (``near_vectors``). Both learn."""

    def __init__(self, network: PocketConfig, *, operations: Any, **factory: Any) -> None:
        super().__init__(network.dim, network.heads, operations=operations, **factory)
        self.near_q, self.near_k = (nn.Parameter(z.to(**factory)) for z in near_vectors(network))

    def forward(self, x: Float[Tensor, "b l c"], prior: Placed) -> Float[Tensor, "b l c"]:
        q, (k, v) = self.queries(x), self.keys_values(prior.tokens)
        if prior.turns is not None:
            q = rotate(q + self.near_q.to(q), prior.turns[0])
            k = rotate(k + self.near_k.to(k), prior.turns[1])
        return self.merge(F.scaled_dot_product_attention(q, k, v))


class PriorAttention(nn.Module):
    """One stream's tokens read the spatial tokens of the prior, then the temporal ones."""

    def __init__(self, network: PocketConfig, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        dim, shared = network.dim, {"operations": operations, **factory}
        self.norm_spatial, self.norm_temporal = (operations.LayerNorm(dim, **factory) for _ in range(2))
        self.spatial, self.temporal = (PlacedAttention(network, **shared) for _ in range(2))

    def forward(self, x: Float[Tensor, "b l c"], prior: Ready, _place: Geometry) -> Float[Tensor, "b l c"]:
        """What ``x`` takes from its prior; zero for samples whose prior is hidden."""
        first = self.spatial(self.norm_spatial(x), prior.spatial)
        then = self.temporal(self.norm_temporal(x + first), prior.temporal)
        out = first + then
        return out if prior.shown is None else out.where(prior.shown[:, None, None], 0)


class PriorLayers(AddOn):
    """The whole add-on: one projector, and a layer for each half of each block."""

    NAME = "prior"
    config: PriorLayersConfig

    def __init__(
        self, config: PriorLayersConfig, network: PocketConfig, *, operations: Any = nn, **factory: Any
    ) -> None:
        super().__init__()
        self.config = config
        shared = {"operations": operations, **factory}
        self.encoder = PriorProjector(config, network, **shared)
        self.blocks = nn.ModuleDict(
            {
                stream: nn.ModuleList(PriorAttention(network, **shared) for _ in range(network.depth))
                for stream in ("video", "audio")
            }
        )

    def read_as(self, reader: LayoutReader) -> None:
        """Begin with the prior net's own way to read a layout."""
        cast(PriorProjector, self.encoder).reader.load_state_dict(reader.state_dict())

    def init_weights(self) -> None:
        for layer in cast(list[PriorAttention], self.attentions()):
            for part in (layer.spatial, layer.temporal):
                for parameter in part.to_out.parameters():
                    nn.init.zeros_(parameter)
