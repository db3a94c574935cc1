"""What every piece of ``duet generate`` and ``duet sweep`` shares, loaded once in each worker."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from ..bench.readings import Probes
from ..models.choose import load_model, with_timed_text
from ..models.pocket.generate import Request
from ..models.pocket.load import PocketModel
from .request import for_model


@dataclass(frozen=True, eq=False)
class Worker:
    """The options of a command and its request. ``plain``: the request without what depends on the model."""

    arguments: argparse.Namespace
    plain: Request

    def __reduce__(self) -> tuple[Any, ...]:
        """What is loaded stays behind: a worker loads it itself."""
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    @cached_property
    def model(self) -> PocketModel:
        """The model that generates, without layers for conditions; with timed events, the model that reads them."""
        model = load_model(self.arguments.model)
        return model if self.plain.timed is None else with_timed_text(model)

    @cached_property
    def probes(self) -> Probes:
        """The instruments that measure the events of a clip."""
        return Probes.load()

    @cached_property
    def request(self) -> Request:
        """The request for the model."""
        return for_model(self.plain, self.arguments, self.model)
