"""Pocket LTX-2: LTX-2's architecture at pocket size on the pocket latents."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...core.sizes import ClipShape
from ...core.streams import Streams
from ..addons.context import ContextConfig
from .network import LTX2Network
from .pocket_config import PocketLTX2Config

PADDING = -10_000.0  # added to the attention logits of padding, as diffusers does


class PocketLTX2(nn.Module):
    """A ``Backbone``: x0 of folded and scaled pocket latents (see ``FoldedVideoCodec`` and ``ScaledAudioCodec``)."""

    kept_reads = True

    def __init__(self, config: PocketLTX2Config) -> None:
        super().__init__()
        self.config = config
        self.network = LTX2Network(config.sizes())

    @property
    def trained_null(self) -> bool:
        """Whether there are context tokens, which a closed route reads; without them it adds zero, which was never trained."""
        return self.network.context is not None

    def context_config(self) -> ContextConfig:
        """The sizes of context tokens for this network."""
        return ContextConfig(depth=self.config.depth, video_dim=self.config.dim, audio_dim=self.config.dim)

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
        timed: Streams[Tensor] | None = None,
    ) -> Streams[Tensor]:
        """x0 of both streams; see ``Backbone``."""
        velocity = self.velocity(x, sigma, text, route=route, silent=silent, timed=timed)
        return x.map(lambda z, v, s: z - spread(s, z) * v, velocity, sigma)

    def velocity(
        self,
        x: Streams[Tensor],
        sigma: Streams[Tensor],
        text: Streams[Tensor],
        *,
        route: Streams[Tensor] | None = None,
        silent: Streams[Tensor] | None = None,
        timed: Streams[Tensor] | None = None,
    ) -> Streams[Tensor]:
        """The velocity noise - x0 of both streams, from which ``forward`` computes x0."""
        mask = text.map(text_mask, timed or Streams(), x)
        return self.network(x, sigma, text, fps=float(self.config.fps), mask=mask, route=route, silent=silent)


def text_mask(text: Tensor, shares: Tensor | None, x: Tensor) -> Tensor:
    """Which tokens of a text [b, m, width] are read: [b, m], 1 for words and 0 for padding; or, with ``shares`` [b, t, m] at the latent
    frames of ``x`` [b, c, t, ...], what is added to the attention logits of each latent, [b, latents, m]."""
    words = (text.abs().amax(-1) > 0).to(text.dtype)
    if shares is None:
        return words
    bias = shares.to(text.dtype) + (1 - words[:, None]) * PADDING
    return bias.repeat_interleave(x[0, 0, 0].numel(), dim=1)


def spread(sigma: Tensor, like: Tensor) -> Tensor:
    """[b, n] noise levels over latents [b, c, t, ...]."""
    return sigma.view(sigma.shape[0], 1, sigma.shape[1], *[1] * (like.ndim - 3))
