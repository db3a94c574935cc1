"""Add-ons: layers in files of their own on a frozen two-stream backbone. They know its sizes and the geometry of its tokens, not its
class, and their file names the base that they were trained on."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from torch import nn

from ...core.streams import Streams
from ...core.weights import WeightsFile


@runtime_checkable
class Sizes(Protocol):
    """Sizes of a backbone that the layers of an add-on depend on."""

    @property
    def dim(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def text_dim(self) -> int: ...


@runtime_checkable
class Backbone(Protocol):
    """Where a backbone takes layers: ``add_ons`` encode a condition once, each block half's own ``add_ons`` read it, and
    ``adapters`` encode tokens that join the text."""

    add_ons: nn.ModuleDict
    adapters: nn.ModuleDict

    def pairs(self) -> list[Any]:
        """The blocks in order, each a ``Streams`` of halves."""
        ...


B = TypeVar("B", bound=Backbone)


def stream_layers(make: Any, depth: int) -> nn.ModuleDict:
    """A layer for each of ``depth`` blocks and each stream."""
    return nn.ModuleDict({stream: nn.ModuleList(make() for _ in range(depth)) for stream in ("video", "audio")})


class AddOn(nn.Module):
    """Layers that let a backbone read a condition; without the condition the backbone's output is unchanged, bit for bit."""

    NAME: str  # of the condition
    config: Any
    encoder: nn.Module  # encodes the condition once for all layers
    blocks: nn.ModuleDict  # stream -> one layer for each block, whose output is added to the stream's tokens

    def init_weights(self) -> None:
        """Initialise the layers so that they add nothing, or little, before training."""
        raise NotImplementedError

    def install(self, network: B) -> B:
        """Put the layers into ``network``, which from then on reads the condition wherever it is supplied."""
        network.add_ons[self.NAME] = self.encoder
        for i, pair in enumerate(network.pairs()):
            for stream, half in vars(cast(Streams[Any], pair)).items():
                half.add_ons[self.NAME] = cast(nn.ModuleList, self.blocks[stream])[i]
        return network

    def attentions(self) -> list[nn.Module]:
        """The layers whose output is added to the tokens of a block."""
        return [layer for layers in self.blocks.values() for layer in cast(nn.ModuleList, layers)]


def add_on_config(file: WeightsFile, base: str) -> dict[str, Any]:
    """The configuration in an add-on's file, for a base with hash ``base``.

    Raises:
        ValueError: the add-on was trained on another base.
    """
    config = dict(file.config)
    if (own := config.pop("base")) != base:
        raise ValueError(
            f"{file.path}: these layers were trained on the base {own[:12]}, but the model is {base[:12]}. Layers for another base "
            f"would only degrade it. Train them again with 'duet train {file.kind.removeprefix('pocket-')}'."
        )
    return config
