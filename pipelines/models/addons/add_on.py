"""Add-ons: layers on a frozen two-stream backbone, in files of their own. They depend on the backbone's sizes and the geometry of its
tokens, not on its class; each file contains the hash of the base that it was trained on."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from torch import Tensor, nn

from ...core.schema import checked
from ...core.streams import Streams
from ...core.weights import WeightsFile, build


@runtime_checkable
class Sizes(Protocol):
    """The sizes of a backbone that an add-on's layers depend on."""

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
    """Where layers can be installed in a backbone: ``add_ons`` encode a condition once for all blocks, the ``add_ons`` of each half of
    a block read it, and ``adapters`` encode tokens that join the text."""

    add_ons: nn.ModuleDict
    adapters: nn.ModuleDict

    def pairs(self) -> list[Any]:
        """The blocks in order, each a ``Streams`` of halves."""
        ...


B = TypeVar("B", bound=Backbone)


def stream_layers(create: Any, depth: int) -> nn.ModuleDict:
    """One layer from ``create`` for each of ``depth`` blocks and each stream."""
    return nn.ModuleDict({stream: nn.ModuleList(create() for _ in range(depth)) for stream in ("video", "audio")})


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
        """Add the layers to ``network``, which then reads the condition wherever it is supplied."""
        network.add_ons[self.NAME] = self.encoder
        for i, pair in enumerate(network.pairs()):
            for stream, half in vars(cast(Streams[Any], pair)).items():
                half.add_ons[self.NAME] = cast(nn.ModuleList, self.blocks[stream])[i]
        return network

    def attentions(self) -> list[nn.Module]:
        """The layers whose output is added to the tokens of a block."""
        return [layer for layers in self.blocks.values() for layer in cast(nn.ModuleList, layers)]


LayerClasses = tuple[type[Any], type[AddOn]]  # of the configuration and of the layers of one kind of file


def build_layers(
    file: WeightsFile,
    tensors: dict[str, Tensor],
    classes: LayerClasses,
    sizes: Sizes,
    base: str,
    *,
    stage: str,
    operations: object = nn,
) -> AddOn:
    """The layers that ``tensors`` of ``file`` hold, for a base of ``sizes`` with hash ``base``; ``stage`` of ``duet train`` makes such
    files.

    Raises:
        ValueError: they were trained on another base, or do not fit their own configuration.
    """
    config_class, layers_class = classes
    config = checked(config_class, add_on_config(file, base, stage=stage), source=file.path)
    return build(lambda: layers_class(config, sizes, operations=operations), tensors, source=file.path)


def add_on_config(file: WeightsFile, base: str, *, stage: str) -> dict[str, Any]:
    """The configuration in an add-on's file, for a base with hash ``base``; ``stage`` of ``duet train`` makes such files.

    Raises:
        ValueError: the add-on was trained on another base.
    """
    config = dict(file.config)
    own = str(config.pop("base", "of no stated hash"))
    if own != base:
        raise ValueError(
            f"{file.path}: these layers were trained on the base {own[:12]}, but the model is {base[:12]}. Layers for another base "
            f"degrade the output. Train them again with 'duet train {stage}'."
        )
    return config
