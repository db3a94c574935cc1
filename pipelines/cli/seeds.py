"""Takes of many seeds for ``duet sweep``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..bench.readings import Probes
from ..bench.takes import Take, Tensors, take_of
from ..core.streams import Clip, Streams
from ..models.choose import load_model
from ..models.pocket.generate import Request, decode, sample
from ..models.pocket.load import PocketModel
from .request import for_model


@dataclass(frozen=True, eq=False)
class Seeds:
    """Generates and measures the take of a seed. ``plain``: the request without what depends on the model."""

    arguments: argparse.Namespace
    plain: Request
    score: str

    def __reduce__(self) -> tuple[Any, ...]:
        """What is loaded stays behind: a worker loads it itself."""
        return Seeds, (self.arguments, self.plain, self.score)

    @cached_property
    def model(self) -> PocketModel:
        """The model that generates."""
        return load_model(self.arguments.model)

    @cached_property
    def probes(self) -> Probes:
        """The instruments that measure events."""
        return Probes.load()

    @cached_property
    def request(self) -> Request:
        """The request for the model."""
        return for_model(self.plain, self.arguments, self.model)

    def __call__(self, seed: int) -> tuple[Take, Tensors]:
        """The take and its latents, by the names of the streams."""
        video, audio = sample(self.model.network, self.model.text, replace(self.request, seed=seed)).both()
        tensors = {"video": video, "audio": audio}
        events = None if self.request.timed is None else self.request.timed[0]
        return take_of(seed, self.clip_of(tensors), self.score, self.probes, events, True), tensors

    def clip_of(self, tensors: Tensors) -> Clip:
        """The clip of the latents of a take."""
        return decode(self.model, Streams(tensors["video"], tensors["audio"]), self.request.shape)[0]
