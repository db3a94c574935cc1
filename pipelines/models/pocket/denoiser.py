"""x0 predictions of the pocket network for several branches in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...core.conditions import WAYS, AdapterStreams, BatchPrior, PlacedTokens, PlanStreams
from ...core.streams import Latents, Streams
from ...guidance.strategy import Branch
from ..addons.plan import PlanLayers
from ..addons.prior import PriorLayers
from .network import TwinStreamDiT


def route_through_adapter(
    adapter: AdapterStreams, route: Streams[Bool[Tensor, " b"]]
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


Text = Float[Tensor, "b m s"]
NOTHING_GIVEN = Streams[Tensor]()


def route_of(branch: Branch) -> tuple[float, float]:
    """What a2v and v2a are in ``branch``: 1 open, 0 closed to its context tokens, -1 closed and adding nothing."""
    closed = -1.0 if branch.masked else 0.0
    return (1.0 if branch.a2v else closed, 1.0 if branch.v2a else closed)


def split_routes(routes: Float[Tensor, "b 2"]) -> tuple[Streams[Tensor], Streams[Tensor] | None]:
    """The network's ``route`` and ``silent`` from rows of ``route_of``."""
    silent = routes < 0
    return Streams(*(routes > 0).unbind(1)), Streams(*silent.unbind(1)) if bool(silent.any()) else None


def noise_levels_of(
    sigma: Float[Tensor, " b"], made: Streams[Float[Tensor, "b n"]], route: Streams[Tensor]
) -> tuple[Streams[Tensor], Streams[Tensor]]:
    """Noise levels of both streams, 0 where a latent frame is given, and the routes: a stream that is given whole must not hear the
    other one's noise and keeps to its context tokens."""
    level = Streams(*(sigma[:, None] if m is None else sigma[:, None] * m for m in made))
    return level, route.map(lambda flag, m: flag if m is None else flag & (m.amax(1) > 0), made)


@dataclass(frozen=True)
class PocketDenoiser:
    """The network with a prompt: ``text`` and the ``null`` text for each stream, each [b, m, s]; a plan and a prior if there are
    any. A prior is shown in every branch, an ``adapter``'s tokens wherever the route they stand for is open. ``made`` says which
    latent frames are made (1) and which are given clean (0)."""

    network: TwinStreamDiT
    text: Streams[Text]
    null: Streams[Text]
    plan: PlanStreams | None = None
    prior: BatchPrior | None = None
    adapter: AdapterStreams | None = None
    made: Streams[Tensor] = NOTHING_GIVEN  # each [b, n]

    @torch.inference_mode()
    def __call__(self, branches: Sequence[Branch], x: Latents, sigma: float) -> list[Latents]:
        """x0 predictions of ``branches`` at one noise level; the branches share a pass as further rows of the batch."""
        count, batch = len(branches), x.present()[0].shape[0]
        stacked = x.map(lambda z: z.repeat(count, *[1] * (z.ndim - 1)))
        texts = [self.text if branch.text else self.null for branch in branches]
        text = Streams(*(torch.cat(rows) for rows in zip(*texts, strict=True)))
        routes = torch.tensor([route_of(branch) for branch in branches], device=x.present()[0].device)
        route, silent = split_routes(routes.repeat_interleave(batch, 0))
        shown = torch.tensor([branch.plan for branch in branches], device=routes.device).repeat_interleave(batch)
        conditions: dict[str, Any] = {}
        if self.plan is not None:
            conditions[PlanLayers.NAME] = self.plan.map(lambda p: p.repeated(count, shown))
        if self.prior is not None:
            conditions[PriorLayers.NAME] = self.prior.repeated(count)
        if self.adapter is not None:
            everywhere = torch.ones(count * batch, dtype=torch.bool, device=routes.device)
            given, route = route_through_adapter(self.adapter.map(lambda a: a.repeated(count, everywhere)), route)
            conditions |= given
        level, route = noise_levels_of(
            routes.new_full((count * batch,), sigma), self.made.map(lambda m: m.repeat(count, 1)), route
        )
        x0 = self.network(stacked, level, text, route=route, silent=silent, conditions=conditions)
        x0 = x0.map(Tensor.float)
        return [x0.map(lambda z, i=i: z[i * batch : (i + 1) * batch]) for i in range(count)]
