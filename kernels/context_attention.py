"""Cross-modal context attention (CCL, arXiv 2603.18600). CCL publishes no code; the equation is our reconstruction.

    softmax(Q [C; K]^T / sqrt(d) + M) [V_C; V]

The learnable context tokens C are never masked, so no row of the softmax is empty. M hides the other stream's tokens outside a
query's window, and all of them for samples or queries whose route is closed.

Letters: b batch, h heads, q queries, n context tokens, k the other stream's tokens, d head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def window_mask(query_frames: Tensor, key_frames: Tensor, *, reach: int) -> Bool[Tensor, "q k"]:
    """True where a key lies at most ``reach`` latent frames from the query (CCL's temporally aligned windows)."""
    return (query_frames[:, None] - key_frames[None, :]).abs() <= reach


def context_attention(
    q: Float[Tensor, "b h q d"],
    context: tuple[Float[Tensor, "h n d"], Float[Tensor, "h n d"]],
    other: tuple[Float[Tensor, "b h k d"], Float[Tensor, "b h k d"]] | None,
    *,
    window: Bool[Tensor, "q k"] | None,
    route: Bool[Tensor, "b ..."] | None,
) -> Float[Tensor, "b h q d"]:
    """One fused attention over ``[C; other]``. ``context`` and ``other`` are pairs of keys and values.

    ``window`` None: every query sees every key. ``route``, for each sample [b] or each of its queries [b, q]; None: open everywhere.
    ``other`` None: attention to the context tokens only. Without context tokens (n = 0) it is ordinary masked attention; a row without
    visible keys gives zero.
    """
    k, v = (c.to(q.dtype).expand(q.shape[0], -1, -1, -1) for c in context)
    if other is None:
        return F.scaled_dot_product_attention(q, k, v) if k.shape[2] else torch.zeros_like(q)
    mask = _allowed(q, context[0], other[0], window, route)
    return F.scaled_dot_product_attention(q, torch.cat([k, other[0]], 2), torch.cat([v, other[1]], 2), attn_mask=mask)


def _allowed(
    q: Tensor, context: Tensor, other: Tensor, window: Tensor | None, route: Tensor | None
) -> Bool[Tensor, "b_or_1 1 q nk"] | None:
    """The mask over context tokens and other keys; None if everything is visible."""
    if window is None and route is None:
        return None
    columns = torch.ones(q.shape[2], other.shape[2], dtype=torch.bool, device=q.device) if window is None else window
    rows = columns[None] if route is None else columns[None] & route.view(*route.shape, *[1] * (3 - route.ndim))
    return F.pad(rows, (context.shape[1], 0), value=True)[:, None]


def context_attention_reference(
    q: Float[Tensor, "b h q d"],
    context: tuple[Float[Tensor, "h n d"], Float[Tensor, "h n d"]],
    other: tuple[Float[Tensor, "b h k d"], Float[Tensor, "b h k d"]] | None,
    *,
    window: Bool[Tensor, "q k"] | None,
    route: Bool[Tensor, "b ..."] | None,
) -> Float[Tensor, "b h q d"]:
    """The same computation in readable form: two score matrices and one softmax over both."""
    scale = q.shape[-1] ** -0.5
    k_context, v_context = context
    scores = torch.einsum("bhqd,hnd->bhqn", q, k_context) * scale
    if other is None:
        return torch.einsum("bhqn,hnd->bhqd", scores.softmax(-1), v_context)
    k, v = other
    to_other = torch.einsum("bhqd,bhkd->bhqk", q, k) * scale
    if window is not None:
        to_other = to_other.masked_fill(~window, -torch.inf)
    if route is not None:
        to_other = to_other.masked_fill(~route.view(len(route), 1, -1, 1), -torch.inf)
    weights = torch.cat([scores, to_other], dim=-1).softmax(-1).nan_to_num()  # NaN: a row without visible keys
    return torch.einsum("bhqn,hnd->bhqd", weights[..., : scores.shape[-1]], v_context) + torch.einsum(
        "bhqk,bhkd->bhqd", weights[..., scores.shape[-1] :], v
    )


def context_mass(
    q: Float[Tensor, "b h q d"],
    context: Float[Tensor, "h n d"],
    other: Float[Tensor, "b h k d"],
    *,
    window: Bool[Tensor, "q k"] | None,
) -> Float[Tensor, "b q"]:
    """The share of each query's attention on the context tokens, averaged over heads. ``context`` and ``other`` are keys."""
    scale = q.shape[-1] ** -0.5
    scores = torch.einsum("bhqd,hnd->bhqn", q, context) * scale
    to_other = torch.einsum("bhqd,bhkd->bhqk", q, other) * scale
    if window is not None:
        to_other = to_other.masked_fill(~window, -torch.inf)
    weights = torch.cat([scores, to_other], dim=-1).softmax(-1)
    return weights[..., : scores.shape[-1]].sum(-1).mean(1)
