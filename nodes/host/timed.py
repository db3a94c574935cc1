"""Timed text in the host's models: every text is encoded and prepared separately, their tokens are concatenated, and text attention
of each stream reads them in windows.

``timed_ltx`` and ``timed_h3`` hook the host's classes. Duet's own models read the same CONDITIONING without hooks, in ``extra_conds``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import comfy.conds
import torch
from torch import Tensor

from ...kernels.segment_attention import SegmentSplit, segment_attention
from ...pipelines.core.streams import Streams
from ...pipelines.guidance.timed import StreamWindows, TimedText

Conds = dict[str, Any]
OVERRIDE = "optimized_attention_override"


@dataclass(frozen=True, eq=False)
class TimedPrompt:
    """Timed text with the embedding of each text, as it rides on a CONDITIONING entry."""

    timed: TimedText
    encoded: Mapping[str, tuple[Tensor, Conds]]  # text -> embedding and its options


@dataclass(frozen=True, eq=False)
class TimedTokens:
    """Log-shares [latents + 1, tokens] of concatenated text tokens for each stream, and the rows of each text."""

    shares: Streams[Tensor]
    texts: tuple[tuple[int, int], ...]
    splits: dict[Any, SegmentSplit] = field(
        default_factory=dict
    )  # of the current sampling, by stream and number of queries


def each_text(prompt: TimedPrompt, kwargs: Conds, conds_of: Callable[..., Conds]) -> dict[str, Conds]:
    """The model's conditions for each text alone. Options that come with a text replace those of the whole entry."""
    own = {name for _, options in prompt.encoded.values() for name in options}
    shared = {name: value for name, value in kwargs.items() if name not in own}
    return {text: conds_of(**{**shared, **more, "cross_attn": z}) for text, (z, more) in prompt.encoded.items()}


def tokens_of(windows: Streams[StreamWindows], masks: Mapping[str, Tensor]) -> TimedTokens:
    """Log-shares of the tokens of all texts; ``masks`` [m] are True for the tokens of each text that are read, in their order."""
    ends = torch.tensor([len(mask) for mask in masks.values()]).cumsum(0).tolist()

    def shares(stream: StreamWindows) -> Tensor:
        owners = [
            torch.where(mask.cpu(), stream.texts.index(text) if text in stream.texts else -1, -1)
            for text, mask in masks.items()
        ]
        return stream.of_tokens(torch.cat(owners))

    return TimedTokens(windows.map(shares), tuple(zip([0, *ends[:-1]], ends, strict=True)))


def read_texts(windows: Streams[StreamWindows], texts: tuple[str, ...]) -> list[str]:
    """Those of ``texts`` that a stream reads."""
    return [text for text in texts if any(text in stream.texts for stream in windows.present())]


def attend_in_parts(split: SegmentSplit, other: Callable[..., Tensor] | None) -> Callable[..., Tensor]:
    """An attention override that computes attention in the parts of ``split``, by way of the override of another node."""

    def override(
        attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        inner = attention if other is None else partial(other, attention)

        def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
            # Attention in low precision does not support masks on all devices.
            more = {} if bias is None else {"low_precision_attention": False}
            return inner(q, k, v, *args, **{**kwargs, "mask": bias, **more})

        return segment_attention(attend, q, k, v, split)

    return override


def visible_tokens(mask: comfy.conds.CONDRegular | None, states: Tensor) -> Tensor:
    """Which tokens of one text are not padding, [m]."""
    if mask is None:
        return torch.ones(states.shape[1], dtype=torch.bool)
    return mask.cond.reshape(-1, states.shape[1])[0] > 0
