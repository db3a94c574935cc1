"""Prior layers: an add-on with which a backbone reads a draw of the prior (JavisDiT's spatial and temporal prior attention).

Two additions are ours. The paper's prior tokens have no position, and the backbone distinguishes tokens in time only by distance; here
both are rotated by their place, as Relative Semantic RoPE does for plans: temporal tokens have a time, spatial tokens a row and a
column. And since the content of a draw is spread over all its tokens while attention reads them one at a time, each token also carries
the draw's layout for its time (temporal) or for the whole clip (spatial), read as the prior net reads it. Without these two additions
the layers changed nothing in 700 training steps.

Letters: b batch, l latent tokens, n prior tokens, k channels of a prior token, c channels, h heads, d head width, a axes.
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
from ..prior.clip import LayoutReader, spatial_places, temporal_places
from .add_on import AddOn, Sizes, stream_layers

# Size of the numbers that queries and keys share; with it attention falls to a tenth within about 0.1 s.
NEAR = 2.0
# Distance in time between the offsets of two heads, in rotary positions; six heads cover a video latent frame.
HEAD_OFFSET = 0.8
# Factor on a layout next to the tokens, whose channels have unit size and are mostly noise.
LAYOUT_GAIN = 4.0


@dataclass(frozen=True)
class PriorLayersConfig:
    """How many tokens a prior has, and their channels."""

    spatial: int
    temporal: int
    channels: int
    bins: int  # of a layout


@dataclass(frozen=True)
class PriorKeys:
    """One kind of prior tokens as the blocks of one stream read them; ``rotary`` holds the tables of queries and keys (``None``: the
    stream has no such axes)."""

    tokens: Float[Tensor, "b n c"]
    rotary: tuple[RotaryTable, RotaryTable] | None


@dataclass(frozen=True)
class StreamPrior:
    """Both kinds of prior tokens for one stream; a sample whose ``shown`` is False does not see them."""

    spatial: PriorKeys
    temporal: PriorKeys
    shown: Bool[Tensor, " b"] | None


class PriorProjector(nn.Module):
    """Prior tokens at the backbone's width, each with the draw's layout for it, and at its place."""

    def __init__(self, config: PriorLayersConfig, sizes: Sizes, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        dim = sizes.dim
        self.config, self.head_dim = config, dim // sizes.heads

        def mlp(inside: int) -> nn.Sequential:
            return nn.Sequential(
                operations.Linear(inside, dim, **factory), nn.GELU(), operations.Linear(dim, dim, **factory)
            )

        tokens = config.spatial + config.temporal
        self.reader = LayoutReader(tokens * config.channels, config.bins, operations=operations, **factory)
        self.spatial = mlp(config.channels + len(PLACES))
        self.temporal = mlp(config.channels + len(PLACES) * (config.bins // config.temporal))

    def check(self, spatial: Float[Tensor, "b ns k"], temporal: Float[Tensor, "b nt k"]) -> None:
        """Refuse the tokens of another model's prior.

        Raises:
            ValueError: the number of tokens or their channels differ from what these layers read.
        """
        found = (spatial.shape[1], temporal.shape[1], spatial.shape[2])
        read = (self.config.spatial, self.config.temporal, self.config.channels)
        if found != read:
            raise ValueError(
                f"The prior has {found[0]} + {found[1]} tokens of {found[2]} channels; the pocket model reads {read[0]} + {read[1]} of "
                f"{read[2]}. Use the prior net of the same 'Duet Load Prior'."
            )

    def forward(self, prior: BatchPrior, geometry: Streams[Geometry]) -> Streams[StreamPrior]:
        layout = LAYOUT_GAIN * self.reader(torch.cat([prior.spatial, prior.temporal], dim=1)).sigmoid()  # b places bins
        when = rearrange(layout, "b p (n each) -> b n (p each)", n=self.config.temporal)
        where = layout.amax(2)[:, None].expand(-1, self.config.spatial, -1)
        spatial = self.spatial(torch.cat([prior.spatial, where], dim=-1))
        temporal = self.temporal(torch.cat([prior.temporal, when], dim=-1))

        def keys(g: Geometry) -> StreamPrior:
            space = self._rotary(g, slice(1, None), spatial_places(self.config.spatial))
            time = self._rotary(g, slice(0, 1), temporal_places(self.config.temporal))
            return StreamPrior(PriorKeys(spatial, space), PriorKeys(temporal, time), prior.shown)

        return geometry.map(keys)

    def _rotary(
        self, geometry: Geometry, axes: slice, places: Float[Tensor, "n a"]
    ) -> tuple[RotaryTable, RotaryTable] | None:
        """Rotary tables of a stream's tokens and of the prior's tokens along ``axes``."""
        positions, extent = geometry.positions[:, axes], geometry.extent[axes]
        if not len(extent):
            return None
        keys = places.to(positions) * extent
        return rotary_table(positions, head_dim=self.head_dim), rotary_table(keys, head_dim=self.head_dim)


def near_vectors(sizes: Sizes, length: float = NEAR) -> tuple[Float[Tensor, "1 h 1 d"], Float[Tensor, "1 h 1 d"]]:
    """What is added to queries and keys before they are rotated, so that attention starts out local. The keys' vector is rotated back
    by another offset in each head, so that each head looks a little ahead or behind. ``length`` is the size of each number."""
    q = torch.full((1, sizes.heads, 1, sizes.dim // sizes.heads), length)
    offsets = (torch.arange(sizes.heads) - (sizes.heads - 1) / 2)[:, None] * HEAD_OFFSET
    return q, rotate(q.transpose(1, 2), rotary_table(-offsets, head_dim=q.shape[-1])).transpose(1, 2)


class PlacedAttention(Projections):
    """Attention that starts out local: queries and keys share a vector whose rotated product is largest where both are at the same
    place (``near_vectors``). Both vectors are learnt."""

    def __init__(self, sizes: Sizes, *, operations: Any, **factory: Any) -> None:
        super().__init__(sizes.dim, sizes.heads, operations=operations, **factory)
        self.near_q, self.near_k = (nn.Parameter(z.to(**factory)) for z in near_vectors(sizes))

    def forward(self, x: Float[Tensor, "b l c"], prior: PriorKeys) -> Float[Tensor, "b l c"]:
        q, (k, v) = self.queries(x), self.keys_values(prior.tokens)
        if prior.rotary is not None:
            q = rotate(q + self.near_q.to(q), prior.rotary[0])
            k = rotate(k + self.near_k.to(k), prior.rotary[1])
        return self.merge(F.scaled_dot_product_attention(q, k, v))


class PriorAttention(nn.Module):
    """One stream's tokens read the spatial tokens of the prior, then the temporal tokens."""

    def __init__(self, sizes: Sizes, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.norm_spatial, self.norm_temporal = (operations.LayerNorm(sizes.dim, **factory) for _ in range(2))
        self.spatial, self.temporal = (PlacedAttention(sizes, operations=operations, **factory) for _ in range(2))

    def forward(self, x: Float[Tensor, "b l c"], prior: StreamPrior, _geometry: Geometry) -> Float[Tensor, "b l c"]:
        """What is added to ``x``; zero for samples that do not see their prior."""
        first = self.spatial(self.norm_spatial(x), prior.spatial)
        then = self.temporal(self.norm_temporal(x + first), prior.temporal)
        out = first + then
        return out if prior.shown is None else out.where(prior.shown[:, None, None], 0)


class PriorLayers(AddOn):
    """The whole add-on: one projector, and a layer for each half of each block."""

    NAME = "prior"
    config: PriorLayersConfig

    def __init__(self, config: PriorLayersConfig, sizes: Sizes, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config = config
        shared = {"operations": operations, **factory}
        self.encoder = PriorProjector(config, sizes, **shared)
        self.blocks = stream_layers(lambda: PriorAttention(sizes, **shared), sizes.depth)

    def read_as(self, reader: LayoutReader) -> None:
        """Start from the prior net's own way to read a layout."""
        cast(PriorProjector, self.encoder).reader.load_state_dict(reader.state_dict())

    def init_weights(self) -> None:
        for layer in cast(list[PriorAttention], self.attentions()):
            for part in (layer.spatial, layer.temporal):
                for parameter in part.to_out.parameters():
                    nn.init.zeros_(parameter)
