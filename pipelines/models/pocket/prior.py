"""Prior layers of the pocket network: an add-on on the frozen base (JavisDiT's spatial and temporal prior attention).

The base tells tokens apart in time only by distance, and the paper's prior tokens stand nowhere; here both sides say where
they are (our addition): latent tokens their own place, prior tokens the place they were made for. What a draw says lies in all
of its tokens together; so that attention, which reads them one by one, finds it, each carries what the draw's layout has for
its time (temporal) or for the whole clip (spatial), read as the prior net reads it (ours too: without it 700 steps of the
layers changed nothing).

Letters: b batch, l latent tokens, n prior tokens, k channels of one, c channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...plan import sines
from ...streams import Streams
from ...world.scene import PLACES
from ..javisdit.prior import Prior
from ..prior.clip import LayoutReader, spatial_places, temporal_places
from .add_on import AddOn
from .blocks import Geometry, Projections
from .network import PocketConfig

OCTAVES = 5
AXES = {"video": 3, "audio": 1}


@dataclass(frozen=True)
class PriorLayersConfig:
    """How many tokens a prior has, and their channels."""

    spatial: int
    temporal: int
    channels: int
    bins: int  # of a layout


@dataclass(frozen=True)
class GivenPrior:
    """A prior's tokens; ``shown`` hides a sample's where False."""

    spatial: Float[Tensor, "b ns k"]
    temporal: Float[Tensor, "b nt k"]
    shown: Bool[Tensor, " b"] | None = None

    def repeated(self, count: int) -> GivenPrior:
        """The same prior for each of ``count`` branches."""
        shown = None if self.shown is None else self.shown.repeat(count)
        return GivenPrior(self.spatial.repeat(count, 1, 1), self.temporal.repeat(count, 1, 1), shown)

    def rows(self, rows: slice) -> GivenPrior:
        """The prior of some of its samples."""
        return GivenPrior(self.spatial[rows], self.temporal[rows], None if self.shown is None else self.shown[rows])


def given_prior(draws: Sequence[Prior]) -> GivenPrior:
    """Draws, one for each sample or batched, as the network reads them."""
    tokens = [draw.tokens for draw in draws]
    return GivenPrior(torch.cat([t.spatial for t in tokens]), torch.cat([t.temporal for t in tokens]))


class TokenProjector(nn.Module):
    """Spatial or temporal prior tokens to the network's width, with the places they stand for."""

    places: Tensor

    def __init__(self, places: Float[Tensor, "n a"], inside: int, dim: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        at = sines(places, octaves=OCTAVES)
        self.register_buffer("places", at.to(**factory), persistent=False)
        self.net = nn.Sequential(
            operations.Linear(inside, dim, **factory), nn.GELU(), operations.Linear(dim, dim, **factory)
        )
        self.place = operations.Linear(at.shape[1], dim, **factory)

    def forward(self, tokens: Float[Tensor, "b n k"]) -> Float[Tensor, "b n c"]:
        return self.net(tokens) + self.place(self.places.to(tokens))


class PriorProjector(nn.Module):
    """Prior tokens as the blocks read them, the same for both streams."""

    def __init__(self, config: PriorLayersConfig, dim: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        shared = {"operations": operations, **factory}
        self.reader = LayoutReader((config.spatial + config.temporal) * config.channels, config.bins, **shared)
        each = config.bins // config.temporal
        self.spatial = TokenProjector(spatial_places(config.spatial), config.channels + len(PLACES), dim, **shared)
        self.temporal = TokenProjector(
            temporal_places(config.temporal), config.channels + len(PLACES) * each, dim, **shared
        )
        self.config = config

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

    def forward(self, prior: GivenPrior, _place: Streams[Geometry]) -> Streams[GivenPrior]:
        layout = self.reader(torch.cat([prior.spatial, prior.temporal], dim=1)).sigmoid()  # b places bins
        when = rearrange(layout, "b p (n each) -> b n (p each)", n=self.config.temporal)
        where = layout.amax(2)[:, None].expand(-1, self.config.spatial, -1)
        spatial = self.spatial(torch.cat([prior.spatial, where], dim=-1))
        temporal = self.temporal(torch.cat([prior.temporal, when], dim=-1))
        ready = GivenPrior(spatial, temporal, prior.shown)
        return Streams(ready, ready)


class PriorAttention(nn.Module):
    """One stream's tokens read the spatial tokens of the prior, then the temporal ones."""

    def __init__(self, axes: int, network: PocketConfig, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        dim, shared = network.dim, {"operations": operations, **factory}
        self.place = operations.Linear(2 * OCTAVES * axes, dim, **factory)
        self.norm_spatial, self.norm_temporal = (operations.LayerNorm(dim, **factory) for _ in range(2))
        self.spatial = Projections(dim, network.heads, **shared)
        self.temporal = Projections(dim, network.heads, **shared)

    def forward(self, x: Float[Tensor, "b l c"], prior: GivenPrior, place: Geometry) -> Float[Tensor, "b l c"]:
        """What ``x`` takes from its prior; zero for samples whose prior is hidden."""
        here = self.place(sines(place.positions / place.extent, octaves=OCTAVES).to(x.dtype))
        first = self._read(self.spatial, self.norm_spatial(x) + here, prior.spatial)
        then = self._read(self.temporal, self.norm_temporal(x + first) + here, prior.temporal)
        out = first + then
        return out if prior.shown is None else out.where(prior.shown[:, None, None], 0)

    @staticmethod
    def _read(layer: Projections, x: Float[Tensor, "b l c"], tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b l c"]:
        return layer.merge(F.scaled_dot_product_attention(layer.queries(x), *layer.keys_values(tokens)))


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
        self.encoder = PriorProjector(config, network.dim, **shared)
        self.blocks = nn.ModuleDict(
            {
                stream: nn.ModuleList(PriorAttention(axes, network, **shared) for _ in range(network.depth))
                for stream, axes in AXES.items()
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
