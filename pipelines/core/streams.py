"""The pair every part of the pack passes around: one value per stream, either of which may be absent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Streams(Generic[T]):
    """``Streams(video, audio)``; ``None`` stands for a stream that does not take part."""

    video: T | None = None
    audio: T | None = None

    def __iter__(self) -> Iterator[T | None]:
        return iter((self.video, self.audio))

    def map(self, function: Callable[..., U], *others: Streams[Any]) -> Streams[U]:
        """Apply ``function`` to each stream present, with the same stream of ``others`` as further arguments."""
        rows = zip(self, *others, strict=True)
        return Streams(*(None if row[0] is None else function(*row) for row in rows))

    def only(self, name: str) -> Streams[T]:
        """The stream ``name``, 'video' or 'audio', without the other one."""
        return Streams(**{name: getattr(self, name)})

    def swapped(self) -> Streams[T]:
        """Each stream under the other's name: what a stream's cross-modal attention reads."""
        return Streams(self.audio, self.video)

    def present(self) -> list[T]:
        """The streams that take part, video first."""
        return [value for value in self if value is not None]

    def both(self) -> tuple[T, T]:
        """Video and audio, where neither may be absent.

        Raises:
            ValueError: one is.
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
