"""The pocket network: a twin-stream rectified flow with cross-modal context attention.

An absent stream is ``None``. Noise levels and routes are set per stream and sample, so that every task (both streams, either alone, one
from the other, first frame kept) uses the same network with different routes and noise levels.

Letters: b batch, c channels, t/h/w latent frames/rows/columns, m text tokens, n noise levels (one, or one per latent frame).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from ....kernels.context_attention import window_mask
from ...core.conditions import WAYS
from ...core.sizes import VIDEO_PATCH, ClipShape
from ...core.streams import Streams
from ..attention import Geometry, of_tokens
from .blocks import BlockInputs, StreamBlock, TwinBlock
from .config import POCKET, PocketConfig
from .ends import StreamEnds, to_latents, to_tokens
from .geometry import stream_geometry

__all__ = ["POCKET", "PocketConfig", "TwinStreamDiT"]
STREAMS = ("video", "audio")


class TwinStreamDiT(nn.Module):
    """Estimates both streams' clean latents x0 at noise levels sigma, where x = (1 - sigma) x0 + sigma noise.

    It predicts x0, not the velocity: a video token has more channels (256) than the network's width, so that noise cannot pass through
    the network, whereas clean video can (Li and He, "Back to Basics", arXiv 2511.13720).

    ``operations`` supplies Linear, RMSNorm and LayerNorm: ``torch.nn``, or the host's classes for offload and casting.
    """

    kept_reads = False

    def __init__(self, config: PocketConfig, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config = config
        shared = {"operations": operations, **factory}
        block = {
            "dim": config.dim,
            "heads": config.heads,
            "text_dim": config.text_dim,
            "context_tokens": config.context_tokens,
            "gated": config.gated,
            **shared,
        }
        patch = config.video_channels * VIDEO_PATCH**2
        self.ends = nn.ModuleDict(
            {
                "video": StreamEnds(config, channels=patch, axes=3, **shared),
                "audio": StreamEnds(config, channels=config.audio_channels, axes=1, **shared),
            }
        )
        self.add_ons = nn.ModuleDict()  # condition -> encoder of the condition for the add-on's layers in the blocks
        self.adapters = nn.ModuleDict()  # direction of an adapter -> phi, which encodes its tokens for text attention
        self.blocks = nn.ModuleDict(
            {name: nn.ModuleList(StreamBlock(**block) for _ in range(config.depth)) for name in STREAMS}
        )

    @property
    def trained_null(self) -> bool:
        """Whether closed directions read context tokens."""
        return self.config.context_tokens > 0

    @property
    def closes_routes(self) -> bool:
        """See ``Backbone``."""
        return self.trained_null

    def latent_sizes(self, shape: ClipShape) -> Streams[tuple[int, ...]]:
        """Channels and size of both latents of one clip."""
        video, audio = self.config.video_channels, self.config.audio_channels
        return Streams((video, *shape.video_latent), (audio, shape.audio_latent))

    def pairs(self) -> list[TwinBlock]:
        """The blocks in order, each with one half for each stream."""
        video, audio = (cast(Iterable[StreamBlock], self.blocks[name]) for name in STREAMS)
        return [TwinBlock(*halves) for halves in zip(video, audio, strict=True)]

    @torch.no_grad()
    def init_weights(self) -> None:
        """Zero for the modulations and the output layers; the blocks' own initialisation (see ``StreamBlock``)."""
        for ends in cast(Iterable[StreamEnds], self.ends.values()):
            for layer in (ends.to_modulation, ends.to_last, ends.out):
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)
        for block in self.pairs():
            for half in block.present():
                half.init_weights()

    def geometry(self, x: Streams[Tensor]) -> Streams[Geometry]:
        """Geometry of the streams that are present."""
        return stream_geometry(self.config, x)

    def forward(
        self,
        x: Streams[Tensor],
        sigma: Streams[Tensor],
        text: Streams[Tensor],
        *,
        route: Streams[Tensor] | None = None,
        silent: Streams[Tensor] | None = None,
        detached: Streams[Tensor] | None = None,
        conditions: dict[str, Any] | None = None,
        timed: Streams[Tensor] | None = None,
    ) -> Streams[Tensor]:
        """x0 of the streams present.

        x: video [b, c, t, h, w], audio [b, c, t]. sigma: [b, n] in 0..1, n one or the stream's latent frames; 0 is clean.
        text: [b, m, text_dim] for each stream, an all-zero row being padding. route, silent, detached: [b] bool for each stream,
        see ``BlockInputs`` (``None``: open, not silent, not detached); route also [b, latent frames]. conditions: name of a condition or
        direction of an adapter -> the input of its encoder; a condition without an encoder is ignored. timed: log-shares of the text
        tokens at each latent frame, [b, latent frames, m] for each stream (``guidance.timed``; ``None``: every frame reads all of them).
        """
        geometry, masks = self.geometry(x), text.map(lambda e: e.abs().amax(-1) > 0)
        ends = Streams(self.ends["video"], self.ends["audio"])
        shares = timed or Streams()
        states = to_tokens(x).map(lambda z, end, g: end.tokens(z, g.positions), ends, geometry)
        level = states.map(
            lambda h, end, s, e, m, t: end.noise_levels(s, e, m, tokens=h.shape[1], timed=t),
            *(ends, sigma, text, masks, shares),
        )
        noise = level.map(lambda z, end: end.to_modulation(z), ends)
        opened = (route or Streams()).map(lambda flag, h: of_tokens(flag, h.shape[1]), states)
        switches = (opened, *(flags or Streams() for flags in (silent, detached)))
        encoded, other = self._encoded(conditions or {}, geometry), self._other(geometry)
        bias = shares.map(lambda z, h: z.repeat_interleave(h.shape[1] // z.shape[1], dim=1), states)
        inputs = geometry.map(BlockInputs, noise, text, masks, bias, *encoded, *other, *switches)
        for block in self.pairs():
            states = block.forward(states, inputs)
        return to_latents(states.map(lambda h, end, z: end.clean(h, z), ends, level), x)

    def _encoded(self, conditions: dict[str, Any], geometry: Streams[Geometry]) -> tuple[Streams[Any], Streams[Any]]:
        """Each stream's adapter tokens, and each stream's part of the conditions that have an add-on."""
        adapter = {}
        for way, phi in self.adapters.items():
            if conditions.get(way) is not None:
                adapter[WAYS[way]] = phi(conditions[way], getattr(geometry, WAYS[way]))
        encoded = {
            name: encode(conditions[name], geometry)
            for name, encode in self.add_ons.items()
            if conditions.get(name) is not None
        }
        parts = ({name: getattr(value, stream) for name, value in encoded.items()} for stream in STREAMS)
        return Streams(**adapter), Streams(*parts)

    def _other(self, geometry: Streams[Geometry]) -> tuple[Streams[Any], Streams[Any]]:
        """For each stream the rotary table of the other stream's times, and which of the other's tokens it may see."""
        reach, other = self.config.window, geometry.swapped()

        def window(mine: Geometry, theirs: Geometry | None) -> Tensor | None:
            return None if theirs is None or reach is None else window_mask(mine.frames, theirs.frames, reach=reach)

        return other.map(lambda g: g.clock), geometry.map(window, other)
