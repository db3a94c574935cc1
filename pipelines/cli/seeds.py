"""Takes of many seeds for ``duet sweep``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..bench.takes import Take, Tensors, take_of
from ..core.streams import Clip, Streams
from ..models.pocket.generate import decode, sample
from .worker import Worker


@dataclass(frozen=True, eq=False)
class Seeds(Worker):
    """Generates and measures the take of a seed."""

    score: str

    def __call__(self, seed: int) -> tuple[Take, Tensors]:
        """The take and its latents, by the names of the streams."""
        video, audio = sample(self.model.network, self.model.text, replace(self.request, seed=seed)).both()
        tensors = {"video": video, "audio": audio}
        events = None if self.request.timed is None else self.request.timed[0]
        return take_of(seed, self.clip_of(tensors), self.score, self.probes, events, True), tensors

    def clip_of(self, tensors: Tensors) -> Clip:
        """The clip of the latents of a take."""
        return decode(self.model, Streams(tensors["video"], tensors["audio"]), self.request.shape)[0]
