"""Timed text in MiniMax H3: joint attention is split by stream and window through ``optimized_attention_override``, and every text has the
positions that it would have alone, right before the clip."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import comfy.conds
import comfy.model_patcher
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...kernels.segment_attention import SegmentSplit
from ...kernels.text_windows import Rows, joint_window_split
from ...pipelines.core.streams import Streams
from ...pipelines.guidance.timed import HIDDEN, Edges, latent_edges
from ..types import TIMED
from .timed import OVERRIDE, Conds, TimedPrompt, TimedTokens, attend_in_parts, each_text, read_texts, tokens_of

FRAMES = (1, 4, 4, 4, 4)  # video frames of each latent, repeated
FRAME_RATE, AUDIO_RATE = 24.0, 40.0  # frames and audio latents per second
TEXT_TAG = 1
ROUTES = "duet_routes"  # a2v and v2a in ``transformer_options``: the directions that a guidance branch leaves open
# Stream of each segment of the sequence, including guides and references.
STREAMS = {"video": "video", "cond": "video", "ref_img": "video"} | dict.fromkeys(
    ("audio", "cond_audio", "ref_audio"), "audio"
)


def h3_edges(shapes: list[tuple[int, ...]]) -> Streams[Edges]:
    """Boundaries of the latents of both streams in seconds."""
    video = latent_edges(shapes[0][2], each=FRAMES, rate=FRAME_RATE)
    return Streams(video, latent_edges(shapes[1][-1], each=(1,), rate=AUDIO_RATE))


def h3_conds(conds_of: Callable[..., Conds], **kwargs: Any) -> Conds:
    """H3's conditions with the tokens of all texts, their windows and their positions."""
    prompt: TimedPrompt | None = kwargs.pop(TIMED, None)
    shapes = kwargs.get("latent_shapes")
    if prompt is None or shapes is None or len(shapes) < 2:
        return conds_of(**kwargs)
    windows = prompt.timed.windows(h3_edges(shapes))
    alone = each_text(prompt, kwargs, conds_of)
    read = read_texts(windows, prompt.timed.texts)
    states = {text: alone[text]["c_crossattn"].cond for text in read}
    lengths = {text: z.shape[1] for text, z in states.items()}
    payloads = {text: alone[text]["minimax_payload"].cond for text in read}
    payload = {
        **payloads[read[-1]],
        "layout": layout_of([payloads[text]["layout"] for text in read], list(lengths.values()), payloads[read[-1]]),
        TIMED: tokens_of(windows, {text: torch.ones(n, dtype=torch.bool) for text, n in lengths.items()}),
    }
    if any("text_token_tags" in p for p in payloads.values()):
        tags = [
            p.get("text_token_tags", torch.full((lengths[text],), TEXT_TAG)).flatten() for text, p in payloads.items()
        ]
        payload["text_token_tags"] = torch.cat(tags)
    merged = {**alone[read[-1]], "minimax_payload": comfy.conds.CONDConstant(payload)}
    merged["c_crossattn"] = comfy.conds.CONDRegular(torch.cat(list(states.values()), dim=1))
    return merged


def layout_of(alone: list[Any], lengths: list[int], payload: Conds) -> Any:
    """The layout of a sequence with several texts. Each text ends where the clip begins, as it would alone."""
    total, longest = sum(lengths), max(lengths)
    _, *size = alone[-1].signature
    layout = type(alone[-1])(total, *size, keyframes=payload.get("keyframes"), refs=payload.get("refs"))
    ends = torch.tensor(lengths).cumsum(0).tolist()
    for (start, end), n in zip(pairwise([0, *ends]), lengths, strict=True):
        layout.position_ids[start:end, 0] = torch.arange(longest - n, longest, dtype=layout.position_ids.dtype)
    layout.position_ids[total:, 0] -= total - longest
    return layout


def h3_rows(kind: str, first: int, after: int, frames: int) -> list[Rows]:
    """The rows of the latents in one segment; audio has two channels after each other. Guides and references read the rest text."""
    if kind not in ("video", "audio"):
        return [(first, after, frames)]
    channels = 2 if kind == "audio" else 1
    each = (after - first) // (frames * channels)
    return [(first + i * each, first + (i + 1) * each, i % frames) for i in range(frames * channels)]


def h3_split(tokens: TimedTokens, layout: Any, routes: tuple[bool, bool]) -> SegmentSplit:
    """The split of the whole sequence; ``routes``: whether a2v and v2a are open."""
    segments = [(first, after, STREAMS.get(kind, "text")) for first, after, kind in layout.segments]
    streams: dict[str, tuple[Tensor, list[Rows]]] = {}
    for name, shares in zip(("video", "audio"), tokens.shares.both(), strict=True):
        found = (s for s in layout.segments if STREAMS.get(s[2]) == name)
        rows = [row for first, after, kind in found for row in h3_rows(kind, first, after, len(shares) - 1)]
        streams[name] = shares, rows
    a2v, v2a = routes
    return joint_window_split(segments, tokens.texts, streams, hidden=HIDDEN, a2v=a2v, v2a=v2a)


def h3_wrapper(
    executor: Any, x: list[Tensor], timestep: Tensor, context: Tensor, options: Conds, *args: Any, **kwargs: Any
) -> Any:
    """Split the attention of a call that has windows."""
    payload = kwargs.get("minimax_payload") or {}
    tokens: TimedTokens | None = payload.get(TIMED)
    if tokens is None:
        return executor(x, timestep, context, options, *args, **kwargs)
    layout, routes, other = payload["layout"], options.get(ROUTES, (True, True)), options.get(OVERRIDE)
    if routes not in tokens.splits:
        tokens.splits[routes] = h3_split(tokens, layout, routes).to(context)
    in_parts = attend_in_parts(tokens.splits[routes], other)

    def override(attention: Callable[..., Tensor], q: Tensor, *rest: Any, **more: Any) -> Tensor:
        if q.shape[-2] == layout.seq_len:
            return in_parts(attention, q, *rest, **more)
        return attention(q, *rest, **more) if other is None else other(attention, q, *rest, **more)

    return executor(x, timestep, context, {**options, OVERRIDE: override}, *args, **kwargs)


def patch_h3(patched: comfy.model_patcher.ModelPatcher) -> None:
    """Add the hooks of MiniMax H3 to a clone of a MODEL."""
    patched.add_object_patch("extra_conds", partial(h3_conds, patched.get_model_object("extra_conds")))
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, TIMED, h3_wrapper)
