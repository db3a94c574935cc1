"""Timed text in LTX-2: ``attn2`` and ``audio_attn2`` of each block are wrapped by object patches; the windows reach them through a wrapper
of the network and ``transformer_options``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.conds
import comfy.model_base
import comfy.model_patcher
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...kernels.segment_attention import SegmentSplit
from ...kernels.text_windows import Rows, window_split
from ...pipelines.core.streams import Streams
from ...pipelines.guidance.timed import HIDDEN, Edges, latent_edges
from ..types import CLIP_SPEC, TIMED
from .joint import JointModel
from .timed import (
    OVERRIDE,
    Conds,
    TimedPrompt,
    TimedTokens,
    attend_in_parts,
    each_text,
    read_texts,
    tokens_of,
    visible_tokens,
)

ATTENTIONS = {"video": "attn2", "audio": "audio_attn2"}  # text attention of each stream in a block


def ltx_edges(model: comfy.model_base.BaseModel, shapes: list[tuple[int, ...]], kwargs: Conds) -> Streams[Edges]:
    """Boundaries of LTX latents in seconds; the first one covers a single frame, or a single mel frame, except in a model of Duet."""
    if isinstance(model, JointModel):
        return model.edges(shapes, kwargs.get(CLIP_SPEC))
    network, frame_rate = model.diffusion_model, float(kwargs.get("frame_rate", 25.0))
    video = latent_edges(shapes[0][2], leading=(1,), each=(network.vae_scale_factors[0],), rate=frame_rate)
    if len(shapes) < 2:
        return Streams(video)
    clock = network.a_patchifier
    rate = clock.sample_rate / clock.hop_length
    leading = (1,) if clock.is_causal else ()
    return Streams(
        video, latent_edges(shapes[1][2], leading=leading, each=(clock.audio_latent_downsample_factor,), rate=rate)
    )


def ltx_conds(model: comfy.model_base.BaseModel, conds_of: Callable[..., Conds], **kwargs: Any) -> Conds:
    """LTX-2's conditions with the tokens of all texts and their windows."""
    prompt: TimedPrompt | None = kwargs.pop(TIMED, None)
    shapes = kwargs.get("latent_shapes")
    if prompt is None or shapes is None:
        return conds_of(**kwargs)
    windows = prompt.timed.windows(ltx_edges(model, shapes, kwargs))
    alone = each_text(prompt, kwargs, conds_of)
    read = read_texts(windows, prompt.timed.texts)
    states = {text: alone[text]["c_crossattn"].cond for text in read}
    masks = {text: visible_tokens(alone[text].pop("attention_mask", None), states[text]) for text in read}
    merged = {name: value for name, value in alone[read[-1]].items() if name != "c_crossattn"}
    merged["c_crossattn"] = comfy.conds.CONDRegular(torch.cat(list(states.values()), dim=1))
    return {**merged, TIMED: comfy.conds.CONDConstant(tokens_of(windows, masks))}


def ltx_rows(stream: str, tokens: TimedTokens, x: list[Tensor], queries: int, guides: int) -> list[Rows]:
    """The queries of each latent. Guides follow the video's own frames, references precede the audio; both read the rest text."""
    outside = len(getattr(tokens.shares, stream)) - 1
    if stream == "audio":
        before = queries - outside
        return [(0, before, outside)] * (before > 0) + [(before + f, before + f + 1, f) for f in range(outside)]
    each = x[0].shape[-2] * x[0].shape[-1]
    frames = outside - guides // each
    rows, own = [(f * each, (f + 1) * each, f) for f in range(frames)], frames * each
    return rows + [(own, queries, outside)] * (queries > own)


def ltx_wrapper(executor: Any, x: list[Tensor], *args: Any, **kwargs: Any) -> Any:
    """Hand the windows of a call on to the text attentions. args: timestep, context, mask, frame rate, options, keyframe positions."""
    tokens: TimedTokens | None = kwargs.pop(TIMED, None)
    if tokens is None:
        return executor(x, *args, **kwargs)
    timestep, context, mask, rate, options, keyframes, *rest = args
    guides = 0 if keyframes is None else keyframes.shape[2]

    def split(stream: str, like: Tensor) -> SegmentSplit:
        key = stream, like.shape[1], guides, x[0].shape[-2:]
        if key not in tokens.splits:
            rows = ltx_rows(stream, tokens, x, like.shape[1], guides)
            shares = getattr(tokens.shares, stream)
            tokens.splits[key] = window_split(shares, rows, hidden=HIDDEN).to(like)
        return tokens.splits[key]

    return executor(x, timestep, context, mask, rate, {**options, TIMED: split}, keyframes, *rest, **kwargs)


def ltx_attention(original: Callable[..., Tensor], stream: str, x: Tensor, **kwargs: Any) -> Tensor:
    """A text attention of LTX-2 in windows, if the call has any."""
    options = kwargs.get("transformer_options") or {}
    split = options.get(TIMED)
    if split is None:
        return original(x, **kwargs)
    override = attend_in_parts(split(stream, x), options.get(OVERRIDE))
    return original(x, **{**kwargs, "transformer_options": {**options, OVERRIDE: override}})


def patch_ltx(patched: comfy.model_patcher.ModelPatcher) -> None:
    """Add the hooks of LTX-2 to a clone of a MODEL."""
    for i in range(len(patched.model.diffusion_model.transformer_blocks)):
        for stream, name in ATTENTIONS.items():
            path = f"diffusion_model.transformer_blocks.{i}.{name}.forward"
            patched.add_object_patch(path, partial(ltx_attention, patched.get_model_object(path), stream))
    patched.add_object_patch("extra_conds", partial(ltx_conds, patched.model, patched.get_model_object("extra_conds")))
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, TIMED, ltx_wrapper)
