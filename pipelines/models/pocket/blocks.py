"""The half-block of one stream. Both streams are instances of the same classes; the weights differ, the code does not.

Letters: b batch, l tokens, m text tokens, h heads, d head width, n noise levels (one, or one per latent frame).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ....kernels.context_attention import context_attention, context_mass
from ....kernels.rotary import RotaryTable, rotate
from ..attention import AdapterTokens, Attention, Geometry, Heads, Projections, modulate


class TextAttention(Projections):
    """Attention to the prompt's words and, where there are any, to what an adapter puts beside them: [z; phi(z_other)] (SAVA)."""

    def forward(
        self,
        x: Float[Tensor, "b l c"],
        text: Float[Tensor, "b m s"],
        *,
        mask: Bool[Tensor, "b m"],
        beside: AdapterTokens | None,
        clock: RotaryTable,
    ) -> Float[Tensor, "b l c"]:
        """``mask`` marks the words that may be seen; ``clock`` holds the times of ``x``."""
        q, (k, v) = self.queries(x), self.keys_values(text)
        allowed, scale = mask[:, None, None, :], q.shape[-1] ** -0.5
        if beside is not None:
            # One softmax over both: words meet the first half of a query and what stands at times the second.
            (near_q, near_k), (more_k, more_v) = beside.near, self.keys_values(beside.tokens)
            turned = rotate(more_k + near_k.to(more_k), beside.turns)
            q = torch.cat([q, rotate(q + near_q.to(q), clock)], dim=-1)
            k = torch.cat([F.pad(k, (0, k.shape[-1])), F.pad(turned, (turned.shape[-1], 0))], dim=2)
            v = torch.cat([v, more_v], dim=2)
            allowed = torch.cat([_scores(allowed, q), beside.scores(more_k)], dim=-1)
        return self.merge(F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale))


def _scores(allowed: Bool[Tensor, "b 1 1 m"], like: Float[Tensor, "b h l d"]) -> Float[Tensor, "b h 1 m"]:
    """What is added to scores: nothing, or -inf where ``allowed`` is False."""
    return (
        torch.zeros_like(allowed, dtype=like.dtype).masked_fill(~allowed, -torch.inf).expand(-1, like.shape[1], -1, -1)
    )


class ContextAttention(Projections):
    """CCL's cross-modal context attention for one direction: queries of this stream, keys ``[C; the other stream]``.

    C is un-rotated and never masked; W_O starts at zero and there is no gate, so that a pretrained stream is left as it
    was and "nothing to hear" is a value the attention can produce (our reconstruction of CCL's LCT and CCA). ``gated``
    is the design CCL argues against, kept for its ablation: W_O starts as torch's own, behind tanh of a zero.
    """

    def __init__(
        self, dim: int, heads: int, *, tokens: int, gated: bool = False, operations: Any, **factory: Any
    ) -> None:
        super().__init__(dim, heads, operations=operations, **factory)
        self.context = nn.Parameter(torch.empty(tokens, dim, **factory))
        self.gate = nn.Parameter(torch.empty(dim, **factory)) if gated else None
        self.to_kv_context = operations.Linear(dim, 2 * dim, bias=False, **factory)

    def context_heads(self) -> Heads:
        """C's keys and values, [h, n, d]."""
        k, v = rearrange(self.to_kv_context(self.context), "n (two h d) -> two h n d", two=2, h=self.heads)
        return self.norm_k(k), v

    @torch.no_grad()
    def init_weights(self) -> None:
        """N(0, 0.02) for C; zero for what lets the other stream in: W_O, or the gate before it."""
        nn.init.normal_(self.context, std=0.02)
        for parameter in self.to_out.parameters() if self.gate is None else (self.gate,):
            nn.init.zeros_(parameter)

    def forward(
        self,
        x: Float[Tensor, "b l c"],
        other: Float[Tensor, "b k c"] | None,
        *,
        rotary: tuple[RotaryTable, RotaryTable | None],
        window: Bool[Tensor, "l k"] | None,
        route: Bool[Tensor, " b"] | None,
    ) -> Float[Tensor, "b l c"]:
        """What this stream (normed ``x``) takes from ``other`` (normed); ``rotary`` holds both streams' times."""
        mine, theirs = rotary
        keys_values = None
        if other is not None and theirs is not None:
            k, v = self.keys_values(other)
            keys_values = rotate(k, theirs), v
        out = context_attention(
            rotate(self.queries(x), mine), self.context_heads(), keys_values, window=window, route=route
        )
        return self.merge(out) if self.gate is None else self.gate.tanh().to(out.dtype) * self.merge(out)

    def mass(
        self,
        x: Float[Tensor, "b l c"],
        other: Float[Tensor, "b k c"],
        *,
        rotary: tuple[RotaryTable, RotaryTable],
        window: Bool[Tensor, "l k"] | None,
    ) -> Float[Tensor, "b l"]:
        """The share of each token's attention that C takes where the route is open."""
        q, k = rotate(self.queries(x), rotary[0]), rotate(self.keys_values(other)[0], rotary[1])
        return context_mass(q, self.context_heads()[0], k, window=window)


class StreamBlock(nn.Module):
    """One stream's half of a block: self-attention, text, add-ons (plan, then prior), context attention, feed-forward.

    ``add_ons`` holds the layers of add-on files in the order in which they run; one whose condition is absent is skipped.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        text_dim: int,
        context_tokens: int,
        gated: bool = False,
        operations: Any,
        **factory: Any,
    ) -> None:
        super().__init__()
        shared = {"operations": operations, **factory}
        self.modulation = nn.Parameter(torch.empty(6, dim, **factory))
        self.self_attention = Attention(dim, heads, **shared)
        self.norm_text = operations.LayerNorm(dim, **factory)
        self.text_attention = TextAttention(dim, heads, source_dim=text_dim, **shared)
        self.add_ons = nn.ModuleDict()
        self.norm_context = operations.LayerNorm(dim, **factory)
        self.context_attention = ContextAttention(dim, heads, tokens=context_tokens, gated=gated, **shared)
        self.feed_forward = nn.Sequential(
            operations.Linear(dim, 4 * dim, **factory),
            nn.GELU(approximate="tanh"),
            operations.Linear(4 * dim, dim, **factory),
        )

    @torch.no_grad()
    def init_weights(self) -> None:
        """Zero for the modulation; the context attention's own; torch's own for the rest."""
        nn.init.zeros_(self.modulation)
        self.context_attention.init_weights()

    def modulations(self, noise: Float[Tensor, "b n six_c"]) -> tuple[Tensor, ...]:
        """Shift, scale and gate of the self-attention, then of the feed-forward: six times [b, n, c]."""
        return (noise.unflatten(-1, self.modulation.shape) + self.modulation.to(noise.dtype)).unbind(-2)

    def attend(
        self,
        x: Tensor,
        noise: tuple[Tensor, ...],
        *,
        place: Geometry,
        text: Tensor,
        text_mask: Tensor,
        conditions: dict[str, Any],
    ) -> Float[Tensor, "b l c"]:
        """Everything a stream takes from itself and from the conditions."""
        shift, scale, gate = noise[:3]
        x = x + (1 + gate) * self.self_attention(modulate(x, shift, scale), rotary=place.rotary)
        beside = next((c for c in conditions.values() if isinstance(c, AdapterTokens)), None)
        x = x + self.text_attention(self.norm_text(x), text, mask=text_mask, beside=beside, clock=place.clock)
        for name, layer in self.add_ons.items():
            if conditions.get(name) is not None:
                x = x + layer(x, conditions[name], place)
        return x

    def feed(self, x: Tensor, noise: tuple[Tensor, ...]) -> Float[Tensor, "b l c"]:
        shift, scale, gate = noise[3:]
        return x + (1 + gate) * self.feed_forward(modulate(x, shift, scale))
