"""Add-on layers of pocket LTX-2 in the host's own LTXAV model: object patches of its text attentions, which read beside the text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import comfy.model_patcher
import comfy.ops
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn

from ...pipelines.core.conditions import PLAN_SHOWN, Conditions, Plan
from ...pipelines.core.streams import Streams
from ...pipelines.models.ltx2.add_ons import TEXT_ATTENTIONS, beside_text, folded_geometry, load_layers
from ...pipelines.models.ltx2.pocket_config import PocketLTX2Config
from ..types import PLAN
from .joint import named_conds
from .ltx2 import PocketLTXAV
from .model import refuse_twice

INSTALLED = "duet_layers"  # transformer option: the names of the conditions that this MODEL has layers for
READS = "duet_layers_read"  # transformer option: the encoded conditions and the geometry of a call
ENTRIES = ("plan_video_tokens", "plan_video_places", "plan_audio_tokens", "plan_audio_places", *PLAN_SHOWN)

Conds = dict[str, Any]


def installed(options: dict[str, Any]) -> tuple[str, ...]:
    """The conditions that the MODEL with these model options has layers for."""
    return options.get("transformer_options", {}).get(INSTALLED, ())


def with_ltx_layers(
    model: comfy.model_patcher.ModelPatcher, kind: str, path: Path | None = None
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL like ``model``, its LoRAs, options and other add-ons included, with the layers of ``kind`` from ``path`` (``None``: the
    file that ships with the pack).

    Raises:
        ValueError: the MODEL is not pocket LTX-2 or already has such layers, or the layers were trained on another base.
    """
    network = model.model
    if not isinstance(network, PocketLTXAV):
        raise ValueError(f"These layers are for pocket LTX-2; this is a {type(network).__name__}.")
    layers = load_layers(kind, network.pocket, network.base_hash, path, operations=comfy.ops.manual_cast)
    refuse_twice(kind, layers.NAME in installed(model.model_options))
    patched = model.clone()
    options = patched.model_options.get("transformer_options", {})
    names = (*installed(model.model_options), layers.NAME)
    patched.model_options["transformer_options"] = {**options, INSTALLED: names}
    for i in range(len(network.diffusion_model.transformer_blocks)):
        for stream, name in vars(TEXT_ATTENTIONS).items():
            place = f"diffusion_model.transformer_blocks.{i}.{name}.forward"
            own = nn.ModuleDict({layers.NAME: cast(nn.ModuleList, layers.blocks[stream])[i]})
            patched.add_object_patch(place, partial(_attend, patched.get_model_object(place), stream, own))
    patched.add_object_patch("extra_conds", partial(_plan_conds, patched.get_model_object("extra_conds")))
    encode = partial(_encode, network.pocket, nn.ModuleDict({layers.NAME: layers.encoder}))
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, f"duet_{kind}", encode)
    return patched


def _plan_conds(conds_of: Callable[..., Conds], **kwargs: Any) -> Conds:
    """The model's conditions with the plan on a CONDITIONING entry as named tensors."""
    plan: Plan | None = kwargs.pop(PLAN, None)
    conds = conds_of(**kwargs)
    return conds if plan is None else conds | named_conds(Conditions(plan.streams))


def _encode(
    config: PocketLTX2Config, encoders: nn.ModuleDict, executor: Any, x: list[Tensor], *args: Any, **kwargs: Any
) -> Any:
    """Encode the plan of a call once for all blocks. args: timestep, context, mask, frame rate, options, ..."""
    own = {name: kwargs.pop(name) for name in ENTRIES if name in kwargs}
    plan = Conditions.unflatten(own).plan
    if plan is None:
        return executor(x, *args, **kwargs)
    timestep, context, mask, rate, options, *rest = args
    if rest and rest[0] is not None and rest[0].shape[2]:  # positions of guides, whose frames are among the video's
        raise ValueError(
            "The prompt has a plan and guides of 'LTXV Add Guide', which the plan layers would take for frames of the clip. Remove one of "
            "them."
        )
    geometry = folded_geometry(config, Streams(x[0], x[1][..., 0]))
    encoded = {name: encode(plan, geometry) for name, encode in encoders.items()}
    return executor(x, timestep, context, mask, rate, {**options, READS: (encoded, geometry)}, *rest, **kwargs)


def _attend(original: Callable[..., Tensor], stream: str, layers: nn.ModuleDict, x: Tensor, **kwargs: Any) -> Tensor:
    """A text attention with what the layers read beside it."""
    out, reads = original(x, **kwargs), (kwargs.get("transformer_options") or {}).get(READS)
    if reads is None:
        return out
    encoded, geometry = reads
    conditions = {name: getattr(value, stream) for name, value in encoded.items()}
    return beside_text(out, x, layers, conditions, getattr(geometry, stream))
