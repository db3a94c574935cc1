"""SAVA's condition of one stream on the other: what is let through, for the layers that read it and for whoever wants to see it.

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
from .gates import GATES, THRESHOLD, let_through, support
from .net import CELL, MaskedAdapter


def adapter_streams(conditions: Sequence[AdapterCondition]) -> AdapterStreams:
    """Conditions of either way, at most one each, as the network reads them.

    Raises:
        ValueError: two of the same way.
    """
    given = {WAYS[c.way]: c.tokens for c in conditions}
    if len(given) < len(conditions):
        raise ValueError("A stream is given two adapters' tokens. Connect one adapter for each way.")
    return Streams(**given)


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
    """What the stream that is made may know of the one that is there.

    ``latents`` may lack the stream that is made: it is predicted where masks read it. ``kind`` is how the mask is used, 'unmasked',
    'soft' or 'gate' (hard at ``threshold``; None: as the net was trained). ``painted`` multiplies the mask. ``strength`` is a factor
    on what is let through; at 0 the stream is not conditioned at all.

    Raises:
        ValueError: an unknown kind or a value out of range; or the net is for clips of another size.
    """
    kind = kind or net.config.gate
    if kind not in GATES:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(GATES)}.")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}; it must lie between 0 and 1.")
    if not 0 <= strength <= 2:
        raise ValueError(f"strength is {strength}; it must be from 0 to 2.")
    source = SOURCES[way]
    net.check(latents)
    z, mask = net.read(latents, source)
    if painted is not None:
        mask = mask * _over_tokens(net, painted, source)[None, :, None]
    passed = let_through(kind, z, mask, threshold) * strength
    shown = torch.full((len(z),), strength > 0)
    tokens = PlacedTokens(passed, vars(net.places)[source], shown)
    return AdapterCondition(way, mask, support(mask, threshold), tokens)


def _over_tokens(net: MaskedAdapter, painted: Tensor, source: str) -> Float[Tensor, " l"]:
    """A painted mask over the tokens: in time and place for the picture, in time for the sound."""
    grid = (net.frames, net.rows // CELL, net.columns // CELL) if source == "video" else (net.frames, 1, 1)
    still = painted.expand(max(len(painted), net.frames), -1, -1) if len(painted) == 1 else painted
    return F.adaptive_avg_pool3d(still[None, None].float(), grid).flatten().clamp(0, 1)
