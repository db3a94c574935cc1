"""Predictions of x0 by a network for several guidance branches in one pass.

``prepare`` combines routes, kept frames and conditions; both the command line and the host call it.
Letters: b batch, m text tokens, n latent frames of a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...core.conditions import WAYS, AdapterStreams, Conditions, PlacedTokens
from ...core.streams import Latents, Streams
from ...guidance.strategy import Branch
from ..addons.plan import PlanLayers
from ..addons.prior import PriorLayers
from ..backbone import Backbone

Text = Float[Tensor, "b m s"]
Flags = Streams[Bool[Tensor, " b"]]


def route_of(branch: Branch) -> tuple[float, float]:
    """a2v and v2a of ``branch`` as numbers: 1 open; 0 closed, only context tokens are seen; -1 closed, cross-modal attention adds zero."""
    closed = -1.0 if branch.masked else 0.0
    return (1.0 if branch.a2v else closed, 1.0 if branch.v2a else closed)


def split_routes(routes: Float[Tensor, "b 2"]) -> tuple[Flags, Flags | None]:
    """The network's ``route`` and ``silent`` from rows of ``route_of``; ``silent`` is ``None`` if no route is -1."""
    silent = routes < 0
    return Streams(*(routes > 0).unbind(1)), Streams(*silent.unbind(1)) if bool(silent.any()) else None


def route_through_adapter(adapter: AdapterStreams, route: Flags) -> tuple[dict[str, PlacedTokens], Flags]:
    """Conditions and routes of streams that read the other stream through an adapter. Their direct route is closed; a sample whose route
    was already closed does not see the adapter's tokens either."""
    conditions = {
        way: PlacedTokens(tokens.tokens, tokens.places, getattr(route, stream) & tokens.visible())
        for way, stream in WAYS.items()
        if (tokens := getattr(adapter, stream)) is not None
    }
    return conditions, route.map(lambda flag, tokens: flag if tokens is None else torch.zeros_like(flag), adapter)


@dataclass(frozen=True)
class Prepared:
    """The inputs of one pass of the network apart from latents and text. A route is open or closed for a sample, or for each of its
    latent frames."""

    sigma: Streams[Float[Tensor, "b n"]]
    route: Streams[Bool[Tensor, "b ..."]]
    silent: Flags | None
    conditions: dict[str, Any]

    def options(self) -> dict[str, Any]:
        """The network's keyword arguments: everything except the noise levels."""
        return {"route": self.route, "silent": self.silent, "conditions": self.conditions}


def prepare(
    sigma: Float[Tensor, " b"],
    routes: Float[Tensor, "b 2"],
    regenerate: Streams[Float[Tensor, "b n"]],
    conditions: Conditions,
    *,
    crosses: Streams[Bool[Tensor, "b n"]] | None = None,
    kept_reads: bool = False,
) -> Prepared:
    """Noise levels, routes and conditions of a pass at noise level ``sigma``.

    A kept latent frame (``regenerate`` 0) has noise level 0. Without ``kept_reads`` a stream that is kept entirely has a closed route,
    so that the other stream's noise does not reach it, and sees no adapter tokens. ``crosses``: latent frames whose route may be open
    (timed text). The prior is visible in every branch, a plan where its
    ``shown`` is True, and an adapter's tokens where the route that they replace is open.
    """
    route, silent = split_routes(routes)
    level = Streams(*(sigma[:, None] if r is None else sigma[:, None] * r for r in regenerate))
    if not kept_reads:
        route = route.map(lambda flag, r: flag if r is None else flag & (r.amax(1) > 0), regenerate)
    encoded, route = route_through_adapter(conditions.adapter, route)
    route = route.map(lambda flag, read: flag if read is None else flag[:, None] & read, crosses or Streams())
    named = {PlanLayers.NAME: conditions.plan, PriorLayers.NAME: conditions.prior, **encoded}
    return Prepared(level, route, silent, {name: value for name, value in named.items() if value is not None})


@dataclass(frozen=True)
class PocketDenoiser:
    """The network with a prompt (``text`` and ``null`` text for each stream, each [b, m, s]) and conditions. ``regenerate`` is 1 for
    latent frames that are generated and 0 for those that are kept clean. ``timed`` holds the log-shares of the tokens of ``text``
    [b, n, m] (``guidance.timed``); the null text is read everywhere. ``crosses`` [b, n]: latent frames that
    may read the other stream, whatever the text."""

    network: Backbone
    text: Streams[Text]
    null: Streams[Text]
    conditions: Conditions = field(default_factory=Conditions)
    regenerate: Streams[Tensor] = field(default_factory=Streams[Tensor])  # each [b, n]; None: everything is generated
    timed: Streams[Tensor] = field(default_factory=Streams[Tensor])
    crosses: Streams[Tensor] = field(default_factory=Streams[Tensor])

    @torch.inference_mode()
    def __call__(self, branches: Sequence[Branch], x: Latents, sigma: float) -> list[Latents]:
        """x0 predictions of ``branches`` at one noise level; the branches are stacked along the batch in one pass."""
        count, batch = len(branches), x.present()[0].shape[0]
        stacked = x.map(lambda z: z.repeat(count, *[1] * (z.ndim - 1)))
        texts = [self.text if branch.text else self.null for branch in branches]
        text = Streams(*(torch.cat(rows) for rows in zip(*texts, strict=True)))
        routes = torch.tensor([route_of(branch) for branch in branches], device=x.present()[0].device)
        shown = torch.tensor([branch.plan for branch in branches], device=routes.device).repeat_interleave(batch)
        prepared = prepare(
            routes.new_full((count * batch,), sigma),
            routes.repeat_interleave(batch, 0),
            self.regenerate.map(lambda r: r.repeat(count, 1)),
            self.conditions.repeated(count, plan_shown=shown),
            crosses=self.crosses.map(lambda z: z.repeat(count, 1)),
            kept_reads=self.network.kept_reads,
        )
        timed = self.timed.map(lambda z: torch.cat([z if b.text else torch.zeros_like(z) for b in branches]))
        x0 = self.network(stacked, prepared.sigma, text, timed=timed, **prepared.options()).map(Tensor.float)
        return [x0.map(lambda z, i=i: z[i * batch : (i + 1) * batch]) for i in range(count)]
