"""What a two-stream network offers to what is built on it: sampling, guidance, training and the bench."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ..core.sizes import ClipShape
from ..core.streams import Streams


@runtime_checkable
class BackboneConfig(Protocol):
    """The clock of a network: frames per second and samples per second."""

    @property
    def fps(self) -> int: ...

    @property
    def sample_rate(self) -> int: ...


@runtime_checkable
class Backbone(Protocol):
    """A network that estimates clean latents of video [b, c, t, h, w] and audio [b, c, t] from noisy ones."""

    @property
    def config(self) -> BackboneConfig:
        """The sizes and the clock that the network was trained with."""
        ...

    @property
    def trained_null(self) -> bool:
        """Whether a closed direction reads context tokens, which training made the absence of the other stream."""
        ...

    @property
    def kept_reads(self) -> bool:
        """Whether a stream that is kept entirely still reads the other one, as it did in training."""
        ...

    @property
    def closes_routes(self) -> bool:
        """Whether timed events of one stream alone close the other stream's route around them (see ``guidance.timed.crossing``)."""
        ...

    def latent_sizes(self, shape: ClipShape) -> Streams[tuple[int, ...]]:
        """Channels and size of both latents of one clip: video [c, t, h, w] and audio [c, t]."""
        ...

    def __call__(
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
        """x0 of both streams.

        sigma: noise levels [b, n] in 0..1, where n is 1 or the stream's latent frames; 0 is clean. text: [b, m, width] for each stream;
        all-zero rows are padding. route: [b] or [b, latent frames] bool for each stream, whether it reads the other stream; None means
        that both do. silent: [b] bool, closed routes that add zero instead of reading context tokens. conditions: tokens for add-on
        layers by name; a condition without layers is ignored. timed: log-shares of the text tokens at each latent frame,
        [b, latent frames, m] for each stream.
        """
        ...
