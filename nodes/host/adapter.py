"""SAVA's adapter in the host: adding its layers and LoRA to a MODEL, and computing its condition from latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_patcher

from ...pipelines.core.conditions import A2V, SOURCES, V2A, WAYS, AdapterCondition
from ...pipelines.core.streams import Streams
from ...pipelines.core.weights import load_weights
from ...pipelines.models.adapter.condition import condition
from ...pipelines.models.adapter.load import load_adapter
from ...pipelines.models.adapter.net import MaskedAdapter
from ...pipelines.models.pocket.load import ADD_ONS
from ...pipelines.models.pocket.lora import LORA
from .latent import unnest
from .model import with_add_on, with_lora

ADAPTER_KINDS = tuple(f"pocket-adapter-{way}" for way in WAYS)
MAKES = {"sound for the picture": V2A, "picture for the sound": A2V}


def load_masked_adapter(
    model: comfy.model_patcher.ModelPatcher, strength: float
) -> tuple[comfy.model_patcher.ModelPatcher, MaskedAdapter]:
    """A MODEL with the adapter layers of both directions and their LoRA as host patches, and the adapter."""
    for kind in ADAPTER_KINDS:
        model = with_adapter_layers(model, kind, strength, ADD_ONS[kind])
    return model, load_adapter()


def with_adapter_layers(
    model: comfy.model_patcher.ModelPatcher, kind: str, strength: float, path: Path
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL with the adapter layers of one direction from ``path``, and their LoRA as host patches.

    Raises:
        ValueError: the file was trained on another base, or the MODEL already has such layers.
    """
    model = with_add_on(model, kind, path)
    tensors = load_weights(path, kind).tensors
    lora = {name: value for name, value in tensors.items() if name.startswith(LORA)}
    return with_lora(model, lora, strength)


def adapted(
    net: MaskedAdapter, way: str, latent: dict[str, Any], other: dict[str, Any] | None, **settings: Any
) -> AdapterCondition:
    """The condition for the stream that ``way`` generates, from the existing stream in ``latent``; ``other`` supplies the generated
    stream for the masks."""
    source, generated = SOURCES[way], WAYS[way]
    streams = {source: getattr(unnest(latent), source)}
    if other is not None:
        streams[generated] = getattr(unnest(other), generated)
    return condition(net, Streams(**{name: z.cpu().float() for name, z in streams.items()}), way, **settings)
