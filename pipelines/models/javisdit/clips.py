"""Which segments of clips a version of JavisDiT trains on."""

from __future__ import annotations

from dataclasses import dataclass

from ...media.segments import SegmentShape
from .audio import SAMPLE_RATE
from .clock import JavisClock


@dataclass(frozen=True)
class SegmentRule:
    """The sizes and the rate that one version accepts."""

    title: str
    clock: JavisClock
    step: int  # pixels, of which width and height are multiples
    least: int  # pixels
    example: str  # a permitted size, for messages

    def shape(self, *, seconds: float, fps: float, width: int, height: int) -> SegmentShape:
        """The shortest permitted segments that last at least ``seconds``.

        Raises:
            ValueError: a size or a rate that the model does not have.
        """
        if width % self.step or height % self.step or min(width, height) < self.least:
            raise ValueError(
                f"The size is {width}x{height}; both must be multiples of {self.step}, for example {self.example}."
            )
        rate = self.clock.fps
        if fps != rate:
            raise ValueError(f"--fps is {fps:g}; {self.title} was trained at {rate} fps. Use --fps {rate}.")
        return SegmentShape(self.clock.frames(seconds, rate), height, width, fps, SAMPLE_RATE)
