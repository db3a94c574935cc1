"""Add-ons of the pocket network: layers of their own files on the frozen base, which name the base they were trained on."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from ...core.weights import WeightsFile
from ..pocket.network import TwinStreamDiT


class AddOn(nn.Module):
    """Layers that let the network read a condition; without the condition it is the base, bit for bit."""

    NAME: str  # of the condition
    config: Any
    encoder: nn.Module  # what turns the condition into what the layers read
    blocks: nn.ModuleDict  # of each stream, the layers that add to its tokens, one for each block

    def init_weights(self) -> None:
        """Nothing, or little, is added until something is learnt."""
        raise NotImplementedError

    def install(self, network: TwinStreamDiT) -> TwinStreamDiT:
        """Put them into ``network``, which reads the condition from then on where it is given one."""
        network.add_ons[self.NAME] = self.encoder
        for i, pair in enumerate(network.pairs()):
            for stream, half in vars(pair).items():
                half.add_ons[self.NAME] = cast(nn.ModuleList, self.blocks[stream])[i]
        return network

    def attentions(self) -> list[nn.Module]:
        """The layers that add to the tokens of a block."""
        return [layer for layers in self.blocks.values() for layer in cast(nn.ModuleList, layers)]


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
