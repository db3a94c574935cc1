"""What a network can be conditioned on beside text: planned tokens, a draw of the prior, an adapter's tokens. All are values.

Letters: b batch, n tokens, d channels of a token, k channels of a prior token, a axes (time; for video also row and column),
l tokens of a stream.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .saved_plan import SavedPlan
from .sines import sine_features
from .streams import Streams
from .timed_events import TimedEvents, event_words
from .timeline import Timeline

V2A, A2V = "v2a", "a2v"
WAYS = {V2A: "audio", A2V: "video"}  # direction of an adapter -> the stream that is generated
SOURCES = {V2A: "video", A2V: "audio"}  # direction of an adapter -> the stream that it reads

PLAN_SHOWN = (
    "plan_video_shown",
    "plan_audio_shown",
)  # entries of ``Conditions.flatten`` that hide a plan where they are zero


def unit_grid(*counts: int) -> Float[Tensor, "n a"]:
    """Centres of a regular grid in the unit cube, the first axis slowest."""
    axes = [(torch.arange(count, dtype=torch.float32) + 0.5) / count for count in counts]
    return torch.cartesian_prod(*axes).view(-1, len(counts))


def sinusoidal(places: Float[Tensor, "n a"], *, octaves: int) -> Float[Tensor, "n two_octaves_a"]:
    """Sines and cosines of positions in the unit cube: half a period over the cube, one, two, and so on for ``octaves``."""
    return sine_features(places, 2.0 ** torch.arange(octaves, device=places.device) * math.pi)


@dataclass(frozen=True)
class PlacedTokens:
    """Tokens for one stream to read. ``places`` holds their centres in the unit cube; a sample whose ``shown`` is False does not
    see them (``None``: every sample sees them)."""

    tokens: Float[Tensor, "b n d"]
    places: Float[Tensor, "n a"]
    shown: Bool[Tensor, " b"] | None = None

    def visible(self) -> Bool[Tensor, " b"]:
        """``shown`` for every sample."""
        return (
            torch.ones(len(self.tokens), dtype=torch.bool, device=self.tokens.device)
            if self.shown is None
            else self.shown
        )

    def repeated(self, count: int, shown: Bool[Tensor, " rows"] | None = None) -> PlacedTokens:
        """The same tokens for each of ``count`` branches, hidden in those rows where ``shown`` is False."""
        rows = self.visible().repeat(count)
        return PlacedTokens(self.tokens.repeat(count, 1, 1), self.places, rows if shown is None else rows & shown)

    def rows(self, rows: slice) -> PlacedTokens:
        """The tokens of some of the samples."""
        return PlacedTokens(self.tokens[rows], self.places, None if self.shown is None else self.shown[rows])


PlanStreams = Streams[PlacedTokens]
AdapterStreams = Streams[PlacedTokens]  # each at the stream that reads the tokens


def select_rows(streams: Streams[PlacedTokens], rows: slice) -> Streams[PlacedTokens]:
    """The tokens of some of the samples."""
    return streams.map(lambda p: p.rows(rows))


@dataclass(frozen=True)
class Plan:
    """Planned tokens of both streams with the prompts, the seed and the timeline behind them (``None`` in the paper's mode, which
    has no timeline). A plan of ``timed`` events for a model without plan layers has neither tokens nor a timeline."""

    streams: PlanStreams
    video: str
    audio: str
    timeline: Timeline | None
    seed: int
    seconds: float  # length of the clip that the unit cube covers
    timed: TimedEvents | None = None

    @property
    def asked(self) -> TimedEvents:
        """What the plan asks for: its timed events, or those of its timeline in words."""
        return self.timed or TimedEvents.of_timeline(self.timeline or Timeline(()), event_words)

    @property
    def saved(self) -> SavedPlan:
        """The plan without its tokens, as it is written to a file."""
        return SavedPlan(self.video, self.audio, self.timeline, self.seed)


@dataclass(frozen=True)
class PriorTokens:
    """Tokens of one or more priors. ``own`` is the index of each sample's prior (``None``: all samples see all priors)."""

    spatial: Float[Tensor, "p ns k"]
    temporal: Float[Tensor, "p nt k"]
    own: Int[Tensor, " b"] | None = None


@dataclass(frozen=True)
class Prior:
    """Gaussians over the prior tokens of one or more texts, and the draw that ``seed`` and ``temperature`` determine."""

    mean: Float[Tensor, "b n k"]
    log_variance: Float[Tensor, "b n k"]
    seed: int
    temperature: float
    spatial: int  # how many of the n tokens are spatial; the rest are temporal

    @property
    def deviation(self) -> Float[Tensor, "b n k"]:
        """Standard deviation at temperature 1."""
        return (0.5 * self.log_variance).exp()

    @property
    def tokens(self) -> PriorTokens:
        """The draw: mean + temperature * deviation * noise, with the CPU's noise so that a seed means the same everywhere."""
        noise = torch.randn(self.mean.shape, generator=torch.Generator().manual_seed(self.seed)).to(self.mean)
        drawn = self.mean + self.temperature * self.deviation * noise
        return PriorTokens(drawn[:, : self.spatial], drawn[:, self.spatial :])

    @property
    def all_tokens(self) -> Float[Tensor, "b n k"]:
        """The draw, spatial tokens first."""
        return torch.cat([self.tokens.spatial, self.tokens.temporal], dim=1)


@dataclass(frozen=True)
class BatchPrior:
    """One prior's tokens for each sample; a sample whose ``shown`` is False does not see them (``None``: every sample does)."""

    spatial: Float[Tensor, "b ns k"]
    temporal: Float[Tensor, "b nt k"]
    shown: Bool[Tensor, " b"] | None = None

    def repeated(self, count: int) -> BatchPrior:
        """The same priors for each of ``count`` branches."""
        shown = None if self.shown is None else self.shown.repeat(count)
        return BatchPrior(self.spatial.repeat(count, 1, 1), self.temporal.repeat(count, 1, 1), shown)

    def rows(self, rows: slice) -> BatchPrior:
        """The priors of some of the samples."""
        return BatchPrior(self.spatial[rows], self.temporal[rows], None if self.shown is None else self.shown[rows])


def batch_prior(draws: Sequence[Prior]) -> BatchPrior:
    """Draws, one for each sample or already batched, as the network reads them."""
    tokens = [draw.tokens for draw in draws]
    return BatchPrior(torch.cat([t.spatial for t in tokens]), torch.cat([t.temporal for t in tokens]))


@dataclass(frozen=True)
class AdapterCondition:
    """What an adapter passes on from the stream it reads: the soft mask, the hard mask, and the projected tokens after the mask."""

    way: str
    mask: Float[Tensor, "b l d"]
    support: Float[Tensor, "b l d"]
    tokens: PlacedTokens

    @property
    def streams(self) -> AdapterStreams:
        """The tokens at the stream that reads them."""
        return Streams(**{WAYS[self.way]: self.tokens})


@dataclass(frozen=True)
class Conditions:
    """All conditions of a pass of the network beside its text; what is absent is ``None``, or an empty ``Streams``."""

    plan: PlanStreams | None = None
    prior: BatchPrior | None = None
    adapter: AdapterStreams = field(default_factory=Streams[PlacedTokens])

    def repeated(self, count: int, *, plan_shown: Bool[Tensor, " rows"]) -> Conditions:
        """The same conditions for each of ``count`` branches; the plan is hidden in those rows where ``plan_shown`` is False."""
        return Conditions(
            None if self.plan is None else self.plan.map(lambda p: p.repeated(count, plan_shown)),
            None if self.prior is None else self.prior.repeated(count),
            self.adapter.map(lambda p: p.repeated(count)),
        )

    def flatten(self) -> dict[str, Any]:
        """Named tensors with the batch first, and the tokens' places as tuples: a form in which a host can store, compare and
        concatenate conditions. ``unflatten`` is the inverse."""
        out: dict[str, Any] = {}
        for name, part in self._parts().items():
            places = tuple(map(tuple, part.places.tolist()))
            out |= {f"{name}_tokens": part.tokens, f"{name}_places": places, f"{name}_shown": _column(part.visible())}
        if self.prior is not None:
            shown = self.prior.shown
            shown = torch.ones(len(self.prior.spatial)) if shown is None else shown
            out |= {"prior_spatial": self.prior.spatial, "prior_temporal": self.prior.temporal}
            out["prior_shown"] = _column(shown)
        return out

    @classmethod
    def unflatten(cls, named: Mapping[str, Any]) -> Conditions:
        """Conditions from the entries of ``flatten``; other entries are ignored."""

        def placed(name: str) -> PlacedTokens | None:
            if f"{name}_tokens" not in named:
                return None
            shown = named[f"{name}_shown"].flatten() > 0
            return PlacedTokens(named[f"{name}_tokens"], torch.tensor(named[f"{name}_places"]), shown)

        plan = Streams(placed("plan_video"), placed("plan_audio"))
        prior = None
        if "prior_spatial" in named:
            shown = named["prior_shown"].flatten() > 0
            prior = BatchPrior(named["prior_spatial"], named["prior_temporal"], shown)
        adapter = Streams(**{stream: placed(way) for way, stream in WAYS.items()})
        return cls(plan if plan.present() else None, prior, adapter)

    def _parts(self) -> dict[str, PlacedTokens]:
        """The placed tokens under their flat names: plan_video, plan_audio, and an adapter's direction."""
        plan = {} if self.plan is None else {f"plan_{stream}": part for stream, part in vars(self.plan).items()}
        adapter = {way: getattr(self.adapter, stream) for way, stream in WAYS.items()}
        return {name: part for name, part in (plan | adapter).items() if part is not None}


def _column(shown: Tensor) -> Float[Tensor, "b 1"]:
    return shown.float()[:, None]
