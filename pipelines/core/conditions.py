"""What a network can be conditioned on beside text: planned tokens, a prior's draw, an adapter's tokens. All are values.

Letters: b batch, n tokens, d channels of one, a axes (time; for video also row and column), l tokens of a stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .saved_plan import SavedPlan
from .streams import Streams
from .timeline import Timeline


@dataclass(frozen=True)
class PlacedTokens:
    """Tokens for one stream to read, with their centres in [0, 1]^a as ``places``; ``shown`` hides a sample's where False."""

    tokens: Float[Tensor, "b n d"]
    places: Float[Tensor, "n a"]
    shown: Bool[Tensor, " b"] | None = None

    def repeated(self, count: int, shown: Bool[Tensor, " rows"]) -> PlacedTokens:
        """The same tokens for each of ``count`` branches, hidden in those rows where ``shown`` is False."""
        rows = shown if self.shown is None else shown & self.shown.repeat(count)
        return PlacedTokens(self.tokens.repeat(count, 1, 1), self.places, rows)


PlanStreams = Streams[PlacedTokens]


def select_rows(plan: PlanStreams, rows: slice) -> PlanStreams:
    """The plan of some of its samples."""
    return plan.map(lambda p: PlacedTokens(p.tokens[rows], p.places, None if p.shown is None else p.shown[rows]))


def unit_grid(*counts: int) -> Float[Tensor, "n a"]:
    """Centres of a regular grid in the unit cube, the first axis slowest: equal grids have equal places."""
    axes = [(torch.arange(count, dtype=torch.float32) + 0.5) / count for count in counts]
    return torch.cartesian_prod(*axes).view(-1, len(counts))


def sinusoidal(places: Float[Tensor, "n a"], *, octaves: int) -> Float[Tensor, "n two_octaves_a"]:
    """Places in the unit cube as sines and cosines of half a turn, one turn, two, ..., for layers that read where a thing is."""
    turns = 2.0 ** torch.arange(octaves, device=places.device) * math.pi
    angles = (places[..., None] * turns).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


@dataclass(frozen=True)
class Plan:
    """Planned tokens of both streams, the prompts and the timeline they stand for (None in the paper's mode), and the seed it
    was drawn with."""

    streams: PlanStreams
    video: str
    audio: str
    timeline: Timeline | None
    seed: int
    seconds: float  # length of the clip that the places are shares of

    @property
    def saved(self) -> SavedPlan:
        return SavedPlan(self.video, self.audio, self.timeline, self.seed)


@dataclass(frozen=True)
class BatchPrior:
    """A prior's tokens; ``shown`` hides a sample's where False."""

    spatial: Float[Tensor, "b ns k"]
    temporal: Float[Tensor, "b nt k"]
    shown: Bool[Tensor, " b"] | None = None

    def repeated(self, count: int) -> BatchPrior:
        """The same prior for each of ``count`` branches."""
        shown = None if self.shown is None else self.shown.repeat(count)
        return BatchPrior(self.spatial.repeat(count, 1, 1), self.temporal.repeat(count, 1, 1), shown)

    def rows(self, rows: slice) -> BatchPrior:
        """The prior of some of its samples."""
        return BatchPrior(self.spatial[rows], self.temporal[rows], None if self.shown is None else self.shown[rows])


def batch_prior(draws: Sequence[Prior]) -> BatchPrior:
    """Draws, one for each sample or batched, as the network reads them."""
    tokens = [draw.tokens for draw in draws]
    return BatchPrior(torch.cat([t.spatial for t in tokens]), torch.cat([t.temporal for t in tokens]))


V2A, A2V = "v2a", "a2v"
WAYS = {V2A: "audio", A2V: "video"}  # the stream that is made

AdapterStreams = Streams[PlacedTokens]  # for the stream that reads them


@dataclass(frozen=True)
class Prior:
    """Gaussians over the prior tokens of one or more texts, and the draw that ``seed`` and ``temperature`` make of them."""

    mean: Float[Tensor, "b n k"]
    log_variance: Float[Tensor, "b n k"]
    seed: int
    temperature: float
    spatial: int  # how many of the n tokens are spatial; the rest is temporal

    @property
    def deviation(self) -> Float[Tensor, "b n k"]:
        """How far draws spread, at temperature 1."""
        return (0.5 * self.log_variance).exp()

    @property
    def tokens(self) -> PriorTokens:
        """The draw."""
        noise = torch.randn(self.mean.shape, generator=torch.Generator().manual_seed(self.seed)).to(self.mean)
        drawn = self.mean + self.temperature * self.deviation * noise
        return PriorTokens(drawn[:, : self.spatial], drawn[:, self.spatial :])

    @property
    def all_tokens(self) -> Float[Tensor, "b n k"]:
        """The draw, spatial tokens first."""
        return torch.cat([self.tokens.spatial, self.tokens.temporal], dim=1)


@dataclass(frozen=True)
class PriorTokens:
    """Tokens of one or more priors, [p, number of tokens, channels]; ``own`` names each sample's (None: all samples see all priors)."""

    spatial: Float[Tensor, "p ns k"]
    temporal: Float[Tensor, "p nt k"]
    own: Int[Tensor, " b"] | None = None


SOURCES = {V2A: "video", A2V: "audio"}  # the stream that is read


@dataclass(frozen=True)
class AdapterCondition:
    """Of the stream that is read: its soft mask, the hard mask's support, and the projected tokens as they are let through."""

    way: str
    mask: Float[Tensor, "b l d"]
    support: Float[Tensor, "b l d"]
    tokens: PlacedTokens

    @property
    def streams(self) -> AdapterStreams:
        """The tokens at the stream that reads them."""
        return Streams(**{WAYS[self.way]: self.tokens})
