"""Tensor names of LTX-2's transformer and text connectors: official (also ComfyUI's) and diffusers'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

V = TypeVar("V")
PREFIX = "model.diffusion_model."
# Parts of official files beside the transformer's own layers: they prepare the text before the transformer.
TEXT_PARTS = ("video_embeddings_connector.", "audio_embeddings_connector.")
# Official module name -> diffusers' module name. Each is a whole component of a dotted name.
MODULES = {
    "patchify_proj": "proj_in",
    "audio_patchify_proj": "audio_proj_in",
    "adaln_single": "time_embed",
    "audio_adaln_single": "audio_time_embed",
    "prompt_adaln_single": "prompt_adaln",
    "audio_prompt_adaln_single": "audio_prompt_adaln",
    "av_ca_video_scale_shift_adaln_single": "av_cross_attn_video_scale_shift",
    "av_ca_a2v_gate_adaln_single": "av_cross_attn_video_a2v_gate",
    "av_ca_audio_scale_shift_adaln_single": "av_cross_attn_audio_scale_shift",
    "av_ca_v2a_gate_adaln_single": "av_cross_attn_audio_v2a_gate",
    "scale_shift_table_a2v_ca_video": "video_a2v_cross_attn_scale_shift_table",
    "scale_shift_table_a2v_ca_audio": "audio_a2v_cross_attn_scale_shift_table",
    "q_norm": "norm_q",
    "k_norm": "norm_k",
}
OFFICIAL = {theirs: ours for ours, theirs in MODULES.items()}
PROJECTION = "text_embedding_projection."  # of the text encoder's states; LTX-2.0 has one for both streams
PROJECTIONS = {
    "aggregate_embed": "text_proj_in",
    "video_aggregate_embed": "video_text_proj_in",
    "audio_aggregate_embed": "audio_text_proj_in",
}
CONNECTORS = {
    "video_embeddings_connector": "video_connector",
    "audio_embeddings_connector": "audio_connector",
    "transformer_1d_blocks": "transformer_blocks",
    "q_norm": "norm_q",
    "k_norm": "norm_k",
    **PROJECTIONS,
}
OFFICIAL_CONNECTORS = {theirs: ours for ours, theirs in CONNECTORS.items()}


def _renamed(name: str, table: dict[str, str]) -> str:
    return re.sub(r"[^.]+", lambda part: table.get(part[0], part[0]), name)


def to_diffusers(tensors: Mapping[str, V]) -> dict[str, V]:
    """Tensors of the transformer of an official file, under diffusers' names. Other parts of the file are left out."""
    plain = {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    return {_renamed(name, MODULES): value for name, value in plain.items() if not name.startswith(TEXT_PARTS)}


def to_official(tensors: Mapping[str, V]) -> dict[str, V]:
    """Tensors under diffusers' names, under the names of official files, without a prefix."""
    return {_renamed(name, OFFICIAL): value for name, value in tensors.items()}


def connectors_to_diffusers(tensors: Mapping[str, V]) -> dict[str, V]:
    """Tensors of the text connectors of an official file, under diffusers' names. Other parts of the file are left out."""
    plain = {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    own = {name: value for name, value in plain.items() if name.startswith((*TEXT_PARTS, PROJECTION))}
    return {_renamed(name.removeprefix(PROJECTION), CONNECTORS): value for name, value in own.items()}


def connectors_to_official(tensors: Mapping[str, V]) -> dict[str, V]:
    """Tensors of diffusers' text connectors under the names of official files."""
    named = {_renamed(name, OFFICIAL_CONNECTORS): value for name, value in tensors.items()}
    return {f"{PROJECTION if name.startswith(tuple(PROJECTIONS)) else PREFIX}{name}": z for name, z in named.items()}
