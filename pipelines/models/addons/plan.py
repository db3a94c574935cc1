"""Plan layers: an add-on with which a backbone reads a plan (Baton's injection; the formulas are our reconstruction).

After the text, each block's tokens read the plan through cross-attention with Relative Semantic RoPE. Latent tokens keep their own
rotary positions; the places of plan tokens in the unit cube are scaled to the extent of the latent. The product of a query and a key
then depends on their distance in the clip, for any two grids.

Letters: b batch, l latent tokens, n plan tokens, d plan channels, c channels, a axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ....kernels.rotary import RotaryTable, rotary_table, rotate
from ...core.conditions import PlacedTokens, PlanStreams
from ...core.schema import Width
from ...core.streams import Streams
from ..attention import Geometry, Projections
from .add_on import AddOn, Sizes, stream_layers

NAME = "plan"
Axes = Literal["all", "time", "none"]


@dataclass(frozen=True)
class PlanConfig:
    """Channels of the planned tokens, and the axes along which attention distinguishes their places."""

    video: Width
    audio: Width
    axes: Axes = "all"  # rotary axes of plan attention; the last two are the paper's ablations


@dataclass(frozen=True)
class PlanKeys:
    """One stream's plan as its blocks read it."""

    tokens: Float[Tensor, "b n c"]
    rotary: RotaryTable
    shown: Bool[Tensor, " b"] | None


class LatentMLP(nn.Module):
    """Maps planned tokens of one stream, standardised with the statistics of the training clips, to the backbone's width."""

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
    """Encodes both streams' planned tokens, with rotary tables for their places."""

    def __init__(self, config: PlanConfig, sizes: Sizes, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.axes, self.head_dim = config.axes, sizes.dim // sizes.heads
        shared = {"operations": operations, **factory}
        self.video = LatentMLP(config.video, sizes.dim, **shared)
        self.audio = LatentMLP(config.audio, sizes.dim, **shared)

    def forward(self, plan: PlanStreams, geometry: Streams[Geometry]) -> Streams[PlanKeys]:
        return plan.map(self._keys, Streams(self.video, self.audio), geometry)

    def _keys(self, part: PlacedTokens, mlp: LatentMLP, geometry: Geometry) -> PlanKeys:
        positions = part.places.to(geometry.positions) * geometry.extent * self._axes_in_use(geometry.extent)
        return PlanKeys(mlp(part.tokens), rotary_table(positions, head_dim=self.head_dim), part.shown)

    def _axes_in_use(self, extent: Float[Tensor, " a"]) -> Float[Tensor, " a"]:
        """1 for the axes along which plan tokens are distinguished, 0 for the others."""
        time = torch.arange(len(extent), device=extent.device) == 0
        return {"all": torch.ones_like(time), "time": time, "none": torch.zeros_like(time)}[self.axes].float()


class PlanAttention(Projections):
    """Cross-attention of one stream's tokens to its plan. Only W_O is zero-initialised, with a higher learning rate: if a gate in front
    of a zero projection were also zero, neither would get a gradient (reported by re-implementations of Baton)."""

    def __init__(self, config: PlanConfig, sizes: Sizes, *, operations: Any, **factory: Any) -> None:
        super().__init__(sizes.dim, sizes.heads, operations=operations, **factory)
        self.norm = operations.LayerNorm(sizes.dim, **factory)
        self.axes, self.head_dim = config.axes, sizes.dim // sizes.heads

    @torch.no_grad()
    def init_weights(self) -> None:
        for parameter in self.to_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "b l c"], plan: PlanKeys, geometry: Geometry) -> Float[Tensor, "b l c"]:
        """The update of ``x``; zero for samples whose plan is hidden."""
        q, (k, v) = self.queries(self.norm(x)), self.keys_values(plan.tokens)
        k = rotate(k, plan.rotary)
        q = rotate(q, geometry.rotary if self.axes == "all" else self._rotary(geometry))
        out = self.merge(F.scaled_dot_product_attention(q, k, v))
        return out if plan.shown is None else out.where(plan.shown[:, None, None], 0)

    def _rotary(self, geometry: Geometry) -> RotaryTable:
        """The rotary table of the latent tokens' positions along the axes in use."""
        used = torch.zeros_like(geometry.extent)
        used[0] = float(self.axes == "time")
        return rotary_table(geometry.positions * used, head_dim=self.head_dim)


class PlanReader(AddOn):
    """Base class of add-ons that read plans; it standardises the planned tokens."""

    NAME = NAME
    config: PlanConfig

    def mlps(self) -> Streams[LatentMLP]:
        """The layers that read the planned tokens directly, for each stream."""
        raise NotImplementedError

    def standardise(self, moments: Streams[tuple[Tensor, Tensor]]) -> None:
        """Store the mean and the standard deviation of each channel of the planned tokens."""
        for mlp, (mean, deviation) in zip(self.mlps().both(), moments.both(), strict=True):
            mlp.mean.copy_(mean)
            mlp.deviation.copy_(deviation)


class PlanLayers(PlanReader):
    """The complete add-on: one encoder, and one layer for each half of each block."""

    def __init__(self, config: PlanConfig, sizes: Sizes, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config = config
        shared = {"operations": operations, **factory}
        self.encoder = PlanEncoder(config, sizes, **shared)
        self.blocks = stream_layers(lambda: PlanAttention(config, sizes, **shared), sizes.depth)

    def mlps(self) -> Streams[LatentMLP]:
        encoder = cast(PlanEncoder, self.encoder)
        return Streams(encoder.video, encoder.audio)

    def init_weights(self) -> None:
        for layer in cast(list[PlanAttention], self.attentions()):
            layer.init_weights()
