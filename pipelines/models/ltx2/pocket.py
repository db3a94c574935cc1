"""Pocket LTX-2: LTX-2's architecture at pocket size on the pocket latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, nn

from ...core.sizes import ClipShape
from ...core.streams import Streams
from ..addons.context import ContextConfig
from ..attention import Geometry
from .add_ons import TEXT_ATTENTIONS, beside_text, folded_geometry
from .network import LTX2Network
from .pocket_config import PocketLTX2Config

PADDING = -10_000.0  # added to the attention logits of padding, as diffusers does


@dataclass
class Reads:
    """What the add-on layers read in the current forward pass."""

    conditions: dict[str, Streams[Any]] = field(default_factory=dict)
    geometry: Streams[Geometry] = field(default_factory=Streams[Geometry])

    def start(
        self, encoders: nn.ModuleDict, conditions: dict[str, Any], x: Streams[Tensor], config: PocketLTX2Config
    ) -> None:
        """Encode those ``conditions`` that have an encoder, for latents of the sizes of ``x``."""
        present = {name: encode for name, encode in encoders.items() if conditions.get(name) is not None}
        self.geometry = folded_geometry(config, x) if present else Streams()
        self.conditions = {name: encode(conditions[name], self.geometry) for name, encode in present.items()}


class BesideText(nn.Module):
    """The add-on layers of one stream in one block, which read beside its text attention."""

    def __init__(self, attention: nn.Module, stream: str, reads: Reads) -> None:
        super().__init__()
        self.add_ons = nn.ModuleDict()
        self.stream, self.reads = stream, reads
        attention.register_forward_hook(self._add)

    def _add(self, _attention: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        if not self.reads.conditions:
            return out
        conditions = {name: getattr(value, self.stream) for name, value in self.reads.conditions.items()}
        return beside_text(out, inputs[0], self.add_ons, conditions, getattr(self.reads.geometry, self.stream))


class PocketLTX2(nn.Module):
    """A ``Backbone``: x0 of folded and scaled pocket latents (see ``FoldedVideoCodec`` and ``ScaledAudioCodec``)."""

    kept_reads = True
    closes_routes = False  # its routes are open in training; closed ones made more of such events, not fewer

    def __init__(self, config: PocketLTX2Config) -> None:
        super().__init__()
        self.config = config
        self.network = LTX2Network(config.sizes())
        self.add_ons = nn.ModuleDict()  # condition -> encoder of the condition for the add-on's layers in the blocks
        self.adapters = nn.ModuleDict()  # empty: adapter layers exist for the pocket network only
        self._reads = Reads()
        self.halves = nn.ModuleDict(
            {
                stream: nn.ModuleList(
                    BesideText(getattr(block, name), stream, self._reads)
                    for block in self.network.transformer.transformer_blocks
                )
                for stream, name in vars(TEXT_ATTENTIONS).items()
            }
        )

    @property
    def trained_null(self) -> bool:
        """Whether there are context tokens, which a closed route reads; without them it adds zero, which was never trained."""
        return self.network.context is not None

    def pairs(self) -> list[Streams[BesideText]]:
        """The places of add-on layers in each block."""
        video, audio = (cast(list[BesideText], self.halves[stream]) for stream in vars(TEXT_ATTENTIONS))
        return [Streams(*halves) for halves in zip(video, audio, strict=True)]

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
        velocity = self.velocity(x, sigma, text, route=route, silent=silent, conditions=conditions, timed=timed)
        return x.map(lambda z, v, s: z - spread(s, z) * v, velocity, sigma)

    def velocity(
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
        """The velocity noise - x0 of both streams, from which ``forward`` computes x0."""
        mask = text.map(text_mask, timed or Streams(), x)
        self._reads.start(self.add_ons, conditions or {}, x, self.config)
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
