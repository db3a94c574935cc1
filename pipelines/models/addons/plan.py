"""Plan layers of the pocket network: an add-on on the frozen base (Baton's injection; the formulas are our reconstruction).

After the text, each block's tokens read the plan through cross-attention with Relative Semantic RoPE: latent tokens keep
their own positions, plan tokens get theirs by stretching the unit cube over the latent, so that a product of both depends on
how far apart they are in the clip, whatever the two grids are.

Letters: b batch, l latent tokens, n plan tokens, d plan channels, c channels, a axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ....kernels.rotary import RotaryTable, rotary_table, rotate
from ...core.conditions import PlacedTokens, PlanStreams
from ...core.streams import Streams
from ..attention import Geometry, Projections
from ..pocket.network import PocketConfig
from .add_on import AddOn

NAME = "plan"


@dataclass(frozen=True)
class PlanConfig:
    """Channels of the planned tokens, and whether their places are used."""

    video: int
    audio: int
    axes: str = "all"  # rotary axes of plan attention: 'all', 'time', or 'none' (the paper's ablations)


@dataclass(frozen=True)
class Placed:
    """One stream's plan as its blocks read it."""

    tokens: Float[Tensor, "b n c"]
    rotary: RotaryTable
    shown: Bool[Tensor, " b"] | None


class LatentMLP(nn.Module):
    """Planned tokens, standardised over the training clips, to the network's width; one for each stream."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, inside: int, dim: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inside, **factory))
        self.register_buffer("deviation", torch.ones(inside, **factory))
        self.net = nn.Sequential(
            operations.Linear(inside, 2 * dim, **factory), nn.GELU(), operations.Linear(2 * dim, dim, **factory)
        )

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n c"]:
        mean, deviation = (z.to(tokens) for z in (self.mean, self.deviation))
        return self.net((tokens - mean) / deviation)


class PlanEncoder(nn.Module):
    """Both streams' planned tokens to keys that stand where they mean."""

    def __init__(self, config: PlanConfig, network: PocketConfig, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.axes, self.head_dim = config.axes, network.dim // network.heads
        shared = {"operations": operations, **factory}
        self.video = LatentMLP(config.video, network.dim, **shared)
        self.audio = LatentMLP(config.audio, network.dim, **shared)

    def forward(self, plan: PlanStreams, place: Streams[Geometry]) -> Streams[Placed]:
        def put(part: PlacedTokens, mlp: LatentMLP, geometry: Geometry) -> Placed:
            at = part.places.to(geometry.positions) * geometry.extent * self._kept(geometry.extent)
            return Placed(mlp(part.tokens), rotary_table(at, head_dim=self.head_dim), part.shown)

        return plan.map(put, Streams(self.video, self.audio), place)

    def _kept(self, extent: Float[Tensor, " a"]) -> Float[Tensor, " a"]:
        """Axes along which plan tokens are told apart."""
        time = torch.arange(len(extent), device=extent.device) == 0
        return {"all": torch.ones_like(time), "time": time, "none": torch.zeros_like(time)}[self.axes].float()


class PlanAttention(Projections):
    """Cross-attention of one stream's tokens to its plan. Only W_O starts at zero, and its learning rate is higher: a gate
    before a zero projection starves both (Baton-style re-implementations report it)."""

    def __init__(self, config: PlanConfig, network: PocketConfig, *, operations: Any, **factory: Any) -> None:
        super().__init__(network.dim, network.heads, operations=operations, **factory)
        self.norm = operations.LayerNorm(network.dim, **factory)
        self.axes, self.network = config.axes, network

    @torch.no_grad()
    def init_weights(self) -> None:
        for parameter in self.to_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "b l c"], plan: Placed, place: Geometry) -> Float[Tensor, "b l c"]:
        """What ``x`` takes from its plan; zero for samples whose plan is hidden."""
        q, (k, v) = self.queries(self.norm(x)), self.keys_values(plan.tokens)
        k = rotate(k, plan.rotary)
        q = rotate(q, place.rotary if self.axes == "all" else self._own(place))
        out = self.merge(F.scaled_dot_product_attention(q, k, v))
        return out if plan.shown is None else out.where(plan.shown[:, None, None], 0)

    def _own(self, place: Geometry) -> RotaryTable:
        """The latent's positions along the axes that are kept."""
        kept = torch.zeros_like(place.extent)
        kept[0] = float(self.axes == "time")
        return rotary_table(place.positions * kept, head_dim=self.network.dim // self.network.heads)


class PlanReader(AddOn):
    """What lets the network read plans; whatever its layers are, the tokens it reads are standardised."""

    NAME = NAME
    config: PlanConfig

    def mlps(self) -> Streams[LatentMLP]:
        """What reads the planned tokens themselves."""
        raise NotImplementedError

    def standardise(self, moments: Streams[tuple[Tensor, Tensor]]) -> None:
        """Take mean and deviation of each channel of the planned tokens."""
        for mlp, (mean, deviation) in zip(self.mlps().both(), moments.both(), strict=True):
            mlp.mean.copy_(mean)
            mlp.deviation.copy_(deviation)


class PlanLayers(PlanReader):
    """The whole add-on: one encoder, and a layer for each half of each block."""

    def __init__(self, config: PlanConfig, network: PocketConfig, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config = config
        shared = {"operations": operations, **factory}
        self.encoder = PlanEncoder(config, network, **shared)
        self.blocks = nn.ModuleDict(
            {
                stream: nn.ModuleList(PlanAttention(config, network, **shared) for _ in range(network.depth))
                for stream in ("video", "audio")
            }
        )

    def mlps(self) -> Streams[LatentMLP]:
        encoder = cast(PlanEncoder, self.encoder)
        return Streams(encoder.video, encoder.audio)

    def init_weights(self) -> None:
        for layer in cast(list[PlanAttention], self.attentions()):
            layer.init_weights()
