"""SAVA's condition of one stream on the other: the masked tokens for the adapter layers, and the masks for display.

Letters: b batch, l tokens of the stream that is read, d their channels, f frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...core.conditions import SOURCES, WAYS, AdapterCondition, AdapterStreams, PlacedTokens
from ...core.streams import Streams
from .gates import GATES, THRESHOLD, apply_gate, support
from .net import CELL, MaskedAdapter


def adapter_streams(conditions: Sequence[AdapterCondition]) -> AdapterStreams:
    """Conditions of both directions, at most one each, as the network reads them.

    Raises:
        ValueError: two conditions have the same direction.
    """
    tokens = {WAYS[c.way]: c.tokens for c in conditions}
    if len(tokens) < len(conditions):
        raise ValueError("Two adapter conditions are for the same stream. Connect at most one for each direction.")
    return Streams(**tokens)


@torch.inference_mode()
def condition(
    net: MaskedAdapter,
    latents: Streams[Tensor],
    way: str,
    *,
    kind: str | None = None,
    threshold: float = THRESHOLD,
    strength: float = 1.0,
    painted: Float[Tensor, "f h w"] | None = None,
) -> AdapterCondition:
    """The condition that the existing stream supplies for the stream to be generated.

    ``latents`` may lack the stream to be generated; the masks then read a prediction of it. ``kind`` selects how the mask is used:
    'unmasked', 'soft' or 'gate' (a hard mask at ``threshold``); ``None`` selects the kind that the net was trained with. ``painted``
    multiplies the mask. ``strength`` multiplies the masked tokens; at 0 the stream is not conditioned at all.

    Raises:
        ValueError: ``kind`` is unknown, a value is out of range, or the net was trained for clips of another size.
    """
    kind = kind or net.config.gate
    if kind not in GATES:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(GATES)}.")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}; it must be between 0 and 1 (both excluded).")
    if not 0 <= strength <= 2:
        raise ValueError(f"strength is {strength}; it must be from 0 to 2.")
    source = SOURCES[way]
    net.check(latents)
    z, mask = net.project_and_mask(latents, source)
    if painted is not None:
        mask = mask * _over_tokens(net, painted, source)[None, :, None]
    passed = apply_gate(kind, z, mask, threshold) * strength
    shown = torch.full((len(z),), strength > 0)
    tokens = PlacedTokens(passed, vars(net.places)[source], shown)
    return AdapterCondition(way, mask, support(mask, threshold), tokens)


def _over_tokens(net: MaskedAdapter, painted: Tensor, source: str) -> Float[Tensor, " l"]:
    """A painted mask averaged over each token's extent: time, rows and columns for video; time for audio."""
    grid = (net.frames, net.rows // CELL, net.columns // CELL) if source == "video" else (net.frames, 1, 1)
    clip = painted.expand(max(len(painted), net.frames), -1, -1) if len(painted) == 1 else painted
    return F.adaptive_avg_pool3d(clip[None, None].float(), grid).flatten().clamp(0, 1)
