"""``Streams``: one value for video and one for audio, either of which may be absent. ``Clip``: decoded frames and waveform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Streams(Generic[T]):
    """``Streams(video, audio)``; ``None`` means that the stream is absent."""

    video: T | None = None
    audio: T | None = None

    def __iter__(self) -> Iterator[T | None]:
        return iter((self.video, self.audio))

    def map(self, function: Callable[..., U], *others: Streams[Any]) -> Streams[U]:
        """Apply ``function`` to each stream that is present, with the same stream of ``others`` as further arguments."""
        rows = zip(self, *others, strict=True)
        return Streams(*(None if row[0] is None else function(*row) for row in rows))

    def only(self, name: str) -> Streams[T]:
        """The stream ``name``, 'video' or 'audio', without the other one."""
        return Streams(**{name: getattr(self, name)})

    def swapped(self) -> Streams[T]:
        """Each stream under the other's name: what a stream's cross-modal attention reads."""
        return Streams(self.audio, self.video)

    def present(self) -> list[T]:
        """The streams that are present, video first."""
        return [value for value in self if value is not None]

    def both(self) -> tuple[T, T]:
        """Video and audio, both required.

        Raises:
            ValueError: one is absent.
        """
        if self.video is None or self.audio is None:
            raise ValueError(
                f"The {'video' if self.video is None else 'audio'} stream is missing; both are needed here."
            )
        return self.video, self.audio


@dataclass(frozen=True)
class Clip:
    """Decoded frames [t, h, w, 3] in 0..1 at ``fps`` and waveform [channels, samples] in -1..1 at ``sample_rate``."""

    frames: Tensor
    fps: float
    waveform: Tensor
    sample_rate: int


Latents = Streams[Tensor]
