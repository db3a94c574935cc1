"""Attention of every token to the prior tokens of JavisDiT v0.1, without the repeated tokens of the reference implementation.

The reference repeats the prior for each frame (or location) and applies one softmax over all copies of all samples. Repeats cancel in
a softmax, so one copy of each prior gives the same result. However, samples also see each other's priors: with classifier-free
guidance, prompt and null prior are keys for both samples, and the released weights were trained this way (``own`` None). In the
paper's formula each sample sees its own prior only (``own`` set).

Letters: b samples, h heads, q queries, p priors, n tokens of a prior, d head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor


def prior_attention(
    q: Float[Tensor, "b h q d"],
    k: Float[Tensor, "p h n d"],
    v: Float[Tensor, "p h n d"],
    *,
    own: Int[Tensor, " b"] | None,
) -> Float[Tensor, "b h q d"]:
    """Attention to the tokens of all priors (``own`` None) or of each sample's own prior; ``own`` holds its index."""
    if own is not None:
        return F.scaled_dot_product_attention(q, k[own], v[own])
    k, v = (rearrange(z, "p h n d -> 1 h (p n) d").expand(len(q), -1, -1, -1) for z in (k, v))
    return F.scaled_dot_product_attention(q, k, v)


def prior_attention_reference(
    q: Float[Tensor, "b h q d"],
    k: Float[Tensor, "p h n d"],
    v: Float[Tensor, "p h n d"],
    *,
    own: Int[Tensor, " b"] | None,
    copies: int = 3,
) -> Float[Tensor, "b h q d"]:
    """The same computation in readable form, with ``copies`` of each prior as in the reference implementation."""
    out = []
    for i, row in enumerate(q):
        mine = slice(None) if own is None else own[i : i + 1]
        keys, values = (repeat(z[mine], "p h n d -> h (p copies n) d", copies=copies) for z in (k, v))
        scores = torch.einsum("hqd,hkd->hqk", row, keys) * q.shape[-1] ** -0.5
        out.append(torch.einsum("hqk,hkd->hqd", scores.softmax(-1), values))
    return torch.stack(out)
