"""Pocket LTX-2: LTX-2's architecture at pocket size on the pocket latents."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...core.sizes import ClipShape
from ...core.streams import Streams
from .network import LTX2Network
from .pocket_config import PocketLTX2Config


class PocketLTX2(nn.Module):
    """A ``Backbone``: x0 of folded and scaled pocket latents (see ``FoldedVideoCodec`` and ``ScaledAudioCodec``)."""

    trained_null = False
    kept_reads = True

    def __init__(self, config: PocketLTX2Config) -> None:
        super().__init__()
        self.config = config
        self.network = LTX2Network(config.sizes())

    def latent_sizes(self, shape: ClipShape) -> Streams[tuple[int, ...]]:
        """Channels and size of both latents of one clip."""
        return self.config.latent_sizes(shape)

    def forward(
        self,
        x: Streams[Tensor],
        sigma: Streams[Tensor],
        text: Streams[Tensor],
        *,
        route: Streams[Tensor] | None = None,
        silent: Streams[Tensor] | None = None,
        conditions: dict[str, Any] | None = None,
    ) -> Streams[Tensor]:
        """x0 of both streams; see ``Backbone``. There are no context tokens, so a closed route always adds zero."""
        velocity = self.velocity(x, sigma, text, route=route)
        return x.map(lambda z, v, s: z - spread(s, z) * v, velocity, sigma)

    def velocity(
        self,
        x: Streams[Tensor],
        sigma: Streams[Tensor],
        text: Streams[Tensor],
        *,
        route: Streams[Tensor] | None = None,
    ) -> Streams[Tensor]:
        """The velocity noise - x0 of both streams, from which ``forward`` computes x0."""
        mask = text.map(lambda words: (words.abs().amax(-1) > 0).to(words.dtype))
        return self.network(x, sigma, text, fps=float(self.config.fps), mask=mask, route=route)


def spread(sigma: Tensor, like: Tensor) -> Tensor:
    """[b, n] noise levels over latents [b, c, t, ...]."""
    return sigma.view(sigma.shape[0], 1, sigma.shape[1], *[1] * (like.ndim - 3))
