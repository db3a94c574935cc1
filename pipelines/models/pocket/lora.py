"""LoRA on the pocket network's text attention: the layers that SAVA's second stage trains, and those that learn to read timed text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .blocks import StreamBlock
from .network import TwinStreamDiT

LINEAR = ("to_q", "to_kv", "to_out")  # of the text attention: SAVA's conditioning layers
LORA, UP, DOWN = (
    "diffusion_model.",
    ".lora_up.weight",
    ".lora_down.weight",
)  # before and after a layer's name in the host's LoRA files


class LowRank(nn.Module):
    """W + B A for a frozen weight W (LoRA; Hu et al., 2021). B is zero-initialised."""

    def __init__(self, weight: Float[Tensor, "o i"], rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
        return weight + self.up @ self.down


def _linear(network: TwinStreamDiT, streams: Iterable[str]) -> Iterator[tuple[str, nn.Linear]]:
    """The conditioning layers of ``streams`` with their names in the network."""
    for stream in streams:
        for i, pair in enumerate(network.pairs()):
            half: StreamBlock = getattr(pair, stream)
            for name in LINEAR:
                yield f"blocks.{stream}.{i}.text_attention.{name}", getattr(half.text_attention, name)


def add_lora(network: TwinStreamDiT, streams: Iterable[str], *, rank: int) -> None:
    """Add trainable LoRA to the conditioning layers of ``streams``."""
    for _, layer in _linear(network, streams):
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))


def lora_tensors(network: TwinStreamDiT, streams: Iterable[str]) -> dict[str, Tensor]:
    """The LoRA's tensors, with the names of the host's LoRA files."""
    found = {}
    for name, layer in _linear(network, streams):
        low: Any = layer.get_submodule("parametrizations.weight.0")
        found |= {f"{LORA}{name}{UP}": low.up.detach(), f"{LORA}{name}{DOWN}": low.down.detach()}
    return found


def lora_shapes(network: TwinStreamDiT, streams: Iterable[str], *, rank: int) -> dict[str, torch.Size]:
    """The shapes of ``lora_tensors`` of a network with such a LoRA."""
    found = {}
    for name, layer in _linear(network, streams):
        rows, columns = layer.weight.shape
        found |= {f"{LORA}{name}{UP}": torch.Size((rows, rank)), f"{LORA}{name}{DOWN}": torch.Size((rank, columns))}
    return found


@torch.no_grad()
def merge_lora(network: TwinStreamDiT, tensors: dict[str, Tensor]) -> TwinStreamDiT:
    """Add the LoRA in ``tensors`` to the weights of ``network``, in place."""
    for key, up in tensors.items():
        if key.endswith(UP):
            name = key.removesuffix(UP)
            weight = network.get_parameter(f"{name.removeprefix(LORA)}.weight")
            weight += up @ tensors[f"{name}{DOWN}"]
    return network
