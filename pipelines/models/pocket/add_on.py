"""Add-ons of the pocket network: layers of their own files on the frozen base, which name the base they were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ...weights import WeightsFile
from .network import TwinStreamDiT


class AddOn(nn.Module):
    """Layers that let the network read a condition; without the condition it is the base, bit for bit."""

    NAME: str  # of the condition
    config: Any

    def init_weights(self) -> None:
        """Nothing, or little, is added until something is learnt."""
        raise NotImplementedError

    def install(self, network: TwinStreamDiT) -> TwinStreamDiT:
        """Put them into ``network``, which reads the condition from then on where it is given one."""
        raise NotImplementedError

    def attentions(self) -> Sequence[nn.Module]:
        """The layers that add to the tokens of a block."""
        raise NotImplementedError


def add_on_config(file: WeightsFile, base: str) -> dict[str, Any]:
    """The configuration in an add-on's file, for a base of hash ``base``.

    Raises:
        ValueError: it was trained on another base.
    """
    config = dict(file.config)
    if (own := config.pop("base")) != base:
        raise ValueError(
            f"{file.path}: these layers were trained on the base {own[:12]}, and the model is {base[:12]}. Layers of another base "
            f"would only disturb it; train them again with 'duet train {file.kind.removeprefix('pocket-')}'."
        )
    return config
