"""Layers of the JavisDiT networks. Attribute names are the official checkpoint keys.

Letters: b batch, l tokens, m text tokens, h heads, d head width, c channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ....kernels.segment_attention import SegmentSplit, segment_attention
from ...core.sines import sine_features


def modulate(x: Float[Tensor, "..."], shift: Tensor, scale: Tensor, *, eps: float = 1e-6) -> Float[Tensor, "..."]:
    """Layer norm without weights, then x * (1 + scale) + shift."""
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift


def cast_like(parameter: Tensor, like: Tensor) -> Tensor:
    """``parameter`` on the device and in the dtype of ``like``. A host that offloads moves and casts only the weights of its own layer
    classes, not the bare parameters of a module."""
    return parameter.to(like)


def timestep_features(values: Float[Tensor, "..."], width: int, *, dtype: torch.dtype) -> Float[Tensor, "... width"]:
    """[cos, sin] of ``values`` at the frequencies 10000^(-2j / width), j < width / 2, computed as an exponential in ``dtype``.

    ``embeddings.sincos_1d`` has the same frequencies in the other order, computed as a power; the results differ in the last bits,
    and each follows its reference.
    """
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device=values.device, dtype=dtype) * (-math.log(10000) / half))
    return sine_features(values.to(dtype)[..., None], frequencies, cosine_first=True)


def pair_table(angles: Float[Tensor, "l half"]) -> Float[Tensor, "two l half"]:
    """Cosines and sines of ``angles``, computed once for all blocks."""
    return torch.stack([angles.cos(), angles.sin()])


def rotate_pairs(x: Float[Tensor, "... l d"], table: Float[Tensor, "two l half"]) -> Float[Tensor, "... l d"]:
    """Rotate adjacent pairs of channels (x_2i, x_2i+1) by the angles of ``table``, in its precision.

    The pocket network's ``kernels.rotary`` pairs x_i with x_i+d/2; the official weights require adjacent pairs.
    """
    even, odd = x.unflatten(-1, (-1, 2)).to(table.dtype).unbind(-1)
    cos, sin = table
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)


Attend = Callable[
    ..., Tensor
]  # attend(q, k, v[, mask]) of [b, h, l, d]; a boolean mask is True where a key is seen, another is added
sdpa: Attend = F.scaled_dot_product_attention


class Mlp(nn.Module):
    """Linear, tanh GELU, linear."""

    def __init__(self, inside: int, hidden: int, out: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.fc1 = operations.Linear(inside, hidden, **factory)
        self.fc2 = operations.Linear(hidden, out, **factory)

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class TimestepMlp(nn.Module):
    """Linear, SiLU, linear over the sine features of a number."""

    def __init__(self, frequencies: int, dim: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(
            operations.Linear(frequencies, dim, **factory), nn.SiLU(), operations.Linear(dim, dim, **factory)
        )

    def forward(self, values: Float[Tensor, " b"]) -> Float[Tensor, "b c"]:
        """As in the reference, ``values`` are already rounded to the network's dtype (999 in bfloat16 is 1000)."""
        return self.mlp(timestep_features(values, self.frequencies, dtype=torch.float32).to(values.dtype))


class SelfAttention(nn.Module):
    """Fused queries, keys and values; RMS norm over each head of queries and keys, then the rotation."""

    def __init__(self, dim: int, heads: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = operations.Linear(dim, 3 * dim, **factory)
        self.q_norm = operations.RMSNorm(dim // heads, eps=1e-6, **factory)
        self.k_norm = operations.RMSNorm(dim // heads, eps=1e-6, **factory)
        self.proj = operations.Linear(dim, dim, **factory)

    def forward(
        self, x: Float[Tensor, "b l c"], rotary: Float[Tensor, "two l half"] | None = None, *, attend: Attend = sdpa
    ) -> Float[Tensor, "b l c"]:
        q, k, v = rearrange(self.qkv(x), "b l (three h d) -> three b h l d", three=3, h=self.heads)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate_pairs(q, rotary), rotate_pairs(k, rotary)
        return self.proj(rearrange(attend(q, k, v), "b h l d -> b l (h d)"))


class CrossAttention(nn.Module):
    """Queries of one sequence, keys and values of another; no norms."""

    def __init__(self, dim: int, heads: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear = operations.Linear(dim, dim, **factory)
        self.kv_linear = operations.Linear(dim, 2 * dim, **factory)
        self.proj = operations.Linear(dim, dim, **factory)

    def queries(self, x: Float[Tensor, "b l c"]) -> Float[Tensor, "b h l d"]:
        return rearrange(self.q_linear(x), "b l (h d) -> b h l d", h=self.heads)

    def keys_values(self, source: Float[Tensor, "b m c"]) -> Float[Tensor, "two b h m d"]:
        return rearrange(self.kv_linear(source), "b m (two h d) -> two b h m d", two=2, h=self.heads)

    def merge(self, out: Float[Tensor, "b h l d"]) -> Float[Tensor, "b l c"]:
        return self.proj(rearrange(out, "b h l d -> b l (h d)"))

    def forward(
        self,
        x: Float[Tensor, "b l c"],
        source: Float[Tensor, "b m c"],
        *,
        mask: Bool[Tensor, "b m"] | None,
        windows: SegmentSplit | None = None,
        attend: Attend = sdpa,
    ) -> Float[Tensor, "b l c"]:
        """``mask`` ``None``: every source token is read. ``windows``: which ones each query reads, instead of ``mask`` (timed text)."""
        k, v = self.keys_values(source)
        if windows is not None:
            return self.merge(segment_attention(attend, self.queries(x), k, v, windows))
        seen = () if mask is None else (mask[:, None, None],)
        return self.merge(attend(self.queries(x), k, v, *seen))


class BiCrossAttention(nn.Module):
    """Attention of ``width`` in both directions between sequences of width ``dim``, with one set of query-key projections, as two
    attention calls."""

    def __init__(self, dim: int, width: int, heads: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads = heads
        self.m1_proj, self.m2_proj = (operations.Linear(dim, width, **factory) for _ in range(2))
        self.values_m1_proj, self.values_m2_proj = (operations.Linear(dim, width, **factory) for _ in range(2))
        self.out_m1_proj, self.out_m2_proj = (operations.Linear(width, dim, **factory) for _ in range(2))

    def forward(
        self,
        x1: Tensor,
        x2: Tensor,
        *,
        a2v: Tensor | None = None,
        v2a: Tensor | None = None,
        attend: Attend = sdpa,
    ) -> tuple[Float[Tensor, "b l1 c"], Float[Tensor, "b l2 c"]]:
        """The update of the first sequence from the second, and the reverse; where ``a2v`` or ``v2a`` [b] is False, that update is zero."""
        split = lambda z: rearrange(z, "b l (h d) -> b h l d", h=self.heads)  # noqa: E731 - four uses
        q, k = split(self.m1_proj(x1)), split(self.m2_proj(x2))
        v1, v2 = split(self.values_m1_proj(x1)), split(self.values_m2_proj(x2))
        out = []
        for query, key, value, project, open_ in (
            (q, k, v2, self.out_m1_proj, a2v),
            (k, q, v1, self.out_m2_proj, v2a),
        ):
            update = project(rearrange(attend(query, key, value), "b h l d -> b l (h d)"))
            out.append(update if open_ is None else update.where(open_[:, None, None], 0))
        return out[0], out[1]
