"""LoRA (Hu et al., 2021) on a frozen network, with peft, and its file for ComfyUI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..core.schema import Between

HOST_PREFIX = "diffusion_model."


@dataclass(frozen=True)
class LoRAConfig:
    """The rank of a LoRA."""

    rank: Annotated[int, Between(1, 4096)]


def add_lora(network: nn.Module, targets: str, *, rank: int, seed: int = 0) -> None:
    """Add LoRA layers of ``rank`` to the linear layers of ``network`` whose names match the regular expression ``targets``. They alone
    learn, and change nothing before they are trained."""
    from peft import LoraConfig, inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets), network)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # what learns stays in float32 on a bfloat16 base


def lora_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The LoRA layers of ``network`` under its own names, in peft's form: ``NAME.lora_A.weight`` and ``NAME.lora_B.weight``. If the weights
    are sharded, all processes call this together."""
    from peft import get_peft_model_state_dict

    def whole(value: Tensor) -> Tensor:
        value = value.full_tensor() if isinstance(value, DTensor) else value
        return value.detach().cpu().contiguous()

    return {name: whole(value) for name, value in get_peft_model_state_dict(network).items()}


def for_host(layers: dict[str, Tensor]) -> dict[str, Tensor]:
    """LoRA layers under the names that ComfyUI's loader knows, with the alpha of each."""
    tensors = {f"{HOST_PREFIX}{name}": value for name, value in layers.items()}
    ranks = {n.removesuffix("lora_A.weight"): len(z) for n, z in tensors.items() if n.endswith("lora_A.weight")}
    return tensors | {f"{name}alpha": torch.tensor(float(rank)) for name, rank in ranks.items()}


def lora_changes(tensors: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    """What each layer of a LoRA of ``for_host`` adds to a weight, alpha / rank * B A, by the layer's name in the network; other tensors
    are ignored."""
    changes = {}
    for key, down in tensors.items():
        name = key.removesuffix(".lora_A.weight")
        up, alpha = tensors.get(f"{name}.lora_B.weight"), tensors.get(f"{name}.alpha")
        if name == key or up is None or alpha is None or len(down) != rank or up.shape[-1] != rank:
            continue
        changes[name.removeprefix(HOST_PREFIX)] = float(alpha) / rank * (up @ down)
    return changes
