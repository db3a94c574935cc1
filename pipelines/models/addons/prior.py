"""Prior layers: an add-on with which a backbone reads a draw of the prior (JavisDiT's spatial and temporal prior attention).

Two additions are ours. First, the paper's prior tokens have no position, and the backbone distinguishes tokens in time only by
distance; here latent and prior tokens are rotated by their places, as Relative Semantic RoPE does for plans: temporal tokens have a time,
spatial tokens a row and a column. Second, the content of a draw is spread over all its tokens, while attention weights each token
separately; so each token also carries the draw's layout (as the prior net decodes it) for its own time (temporal tokens) or for the
whole clip (spatial tokens). Without these additions the layers had no measurable effect after 700 training steps.

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
from ...core.schema import Count, Width
from ...core.streams import Streams
from ...core.timeline import PLACES
from ..attention import Geometry, Projections
from ..prior.clip import LayoutReader, spatial_places, temporal_places
from .add_on import AddOn, Sizes, stream_layers

# Magnitude of the components that queries and keys share; at this value attention falls to a tenth within about 0.1 s.
NEAR = 2.0
# Difference in time between the offsets of adjacent heads, in rotary positions; six heads cover a video latent frame.
HEAD_OFFSET = 0.8
# Factor on the layout, which is concatenated with token channels of unit variance that are mostly noise.
LAYOUT_GAIN = 4.0


@dataclass(frozen=True)
class PriorLayersConfig:
    """The number of spatial and temporal tokens of a prior, and their channels."""

    spatial: Count
    temporal: Count
    channels: Width
    bins: Count  # time bins of a layout


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
    """Maps prior tokens, each with its part of the draw's layout, to the backbone's width, and computes their rotary tables."""

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
        """Refuse prior tokens of another model.

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
    """Vectors added to queries and keys before rotation, so that attention is initially local. The keys' vector is rotated back by a
    different offset in each head, so that each head attends slightly ahead or behind. ``length`` is the magnitude of each component."""
    q = torch.full((1, sizes.heads, 1, sizes.dim // sizes.heads), length)
    offsets = (torch.arange(sizes.heads) - (sizes.heads - 1) / 2)[:, None] * HEAD_OFFSET
    return q, rotate(q.transpose(1, 2), rotary_table(-offsets, head_dim=q.shape[-1])).transpose(1, 2)


class PlacedAttention(Projections):
    """Attention that is initially local: vectors added to queries and keys (``near_vectors``) have the largest rotated product where
    both are at the same place. Both vectors are learnt."""

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
        """The update of ``x``; zero for samples whose prior is hidden."""
        first = self.spatial(self.norm_spatial(x), prior.spatial)
        second = self.temporal(self.norm_temporal(x + first), prior.temporal)
        out = first + second
        return out if prior.shown is None else out.where(prior.shown[:, None, None], 0)


class PriorLayers(AddOn):
    """The complete add-on: one projector, and one layer for each half of each block."""

    NAME = "prior"
    config: PriorLayersConfig

    def __init__(self, config: PriorLayersConfig, sizes: Sizes, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config = config
        shared = {"operations": operations, **factory}
        self.encoder = PriorProjector(config, sizes, **shared)
        self.blocks = stream_layers(lambda: PriorAttention(sizes, **shared), sizes.depth)

    def copy_reader(self, reader: LayoutReader) -> None:
        """Initialise the layout reader with the prior net's."""
        cast(PriorProjector, self.encoder).reader.load_state_dict(reader.state_dict())

    def init_weights(self) -> None:
        for layer in cast(list[PriorAttention], self.attentions()):
            for part in (layer.spatial, layer.temporal):
                for parameter in part.to_out.parameters():
                    nn.init.zeros_(parameter)
