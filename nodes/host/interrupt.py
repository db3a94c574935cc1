"""Cancelling: long computations outside the host's samplers check for the cancel button too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_management
from torch.overrides import TorchFunctionMode


class Cancellable(TorchFunctionMode):
    """A context in which every torch operation first checks whether the user has cancelled. The host's samplers check in each layer of
    a network, but codecs, resampling and measuring do not."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        comfy.model_management.throw_exception_if_processing_interrupted()
        return function(*args, **(kwargs or {}))
