"""The blocks of the pocket network. Both streams are instances of the same classes with different weights.

Letters: b batch, l tokens, k tokens of the other stream, m text tokens, h heads, d head width, c channels, n noise levels (one, or
one per latent frame or token).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ....kernels.context_attention import context_attention, context_mass
from ....kernels.rotary import RotaryTable, rotate
from ...core.streams import Streams
from ..attention import AdapterTokens, Attention, Geometry, Heads, Projections


def modulate(
    x: Float[Tensor, "b l c"], shift: Float[Tensor, "b n c"], scale: Float[Tensor, "b n c"]
) -> Float[Tensor, "b l c"]:
    """LayerNorm(x) * (1 + scale) + shift, with n = 1 or l (AdaLN; Peebles and Xie, 2023)."""
    return F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


class TextAttention(Projections):
    """Attention to the prompt's tokens and, where an adapter supplies them, to adapter tokens: [z; phi(z_other)] (SAVA)."""

    def forward(
        self,
        x: Float[Tensor, "b l c"],
        text: Float[Tensor, "b m s"],
        *,
        mask: Bool[Tensor, "b m"],
        adapter: AdapterTokens | None,
        clock: RotaryTable,
        bias: Float[Tensor, "b l m"] | None = None,
    ) -> Float[Tensor, "b l c"]:
        """``mask`` is True for text tokens and False for padding; ``clock`` holds the times of ``x``; ``bias`` is added to the scores of
        the text tokens (timed text)."""
        q, (k, v) = self.queries(x), self.keys_values(text)
        allowed, scale = mask[:, None, None, :], q.shape[-1] ** -0.5
        if bias is not None:
            allowed = bias.to(q)[:, None].masked_fill(~allowed, -torch.inf)
        if adapter is not None:
            # One softmax over both kinds of keys: text keys meet the first half of a query, adapter keys the second half.
            (near_q, near_k), (more_k, more_v) = adapter.near, self.keys_values(adapter.tokens)
            rotated = rotate(more_k + near_k.to(more_k), adapter.rotary)
            q = torch.cat([q, rotate(q + near_q.to(q), clock)], dim=-1)
            k = torch.cat([F.pad(k, (0, k.shape[-1])), F.pad(rotated, (rotated.shape[-1], 0))], dim=2)
            v = torch.cat([v, more_v], dim=2)
            others = adapter.scores(more_k)
            if bias is not None:
                others = others.expand(-1, -1, q.shape[2], -1)
            allowed = torch.cat([_scores(allowed, q), others], dim=-1)
        return self.merge(F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale))


def _scores(allowed: Tensor, like: Float[Tensor, "b h l d"]) -> Float[Tensor, "b h l_or_1 m"]:
    """An additive mask for each head. ``allowed`` [b, 1, l or 1, m] is one already, or False where the mask is -inf."""
    scores = allowed
    if allowed.dtype == torch.bool:
        scores = torch.zeros_like(allowed, dtype=like.dtype).masked_fill(~allowed, -torch.inf)
    return scores.expand(-1, like.shape[1], -1, -1)


class ContextAttention(Projections):
    """CCL's cross-modal context attention for one direction: queries of this stream, keys ``[C; the other stream]``.

    C, the learnt context tokens, is not rotated and never masked. W_O is zero-initialised and there is no gate, so that a pretrained
    stream is initially unchanged and the attention can express that the other stream contributes nothing (our reconstruction of CCL,
    arXiv 2603.18600). ``gated`` is the design that CCL argues against, for its ablation: W_O has torch's own initialisation
    and is multiplied by the tanh of a parameter that is zero-initialised.
    """

    def __init__(
        self, dim: int, heads: int, *, tokens: int, gated: bool = False, operations: Any, **factory: Any
    ) -> None:
        super().__init__(dim, heads, operations=operations, **factory)
        self.context = nn.Parameter(torch.empty(tokens, dim, **factory))
        self.gate = nn.Parameter(torch.empty(dim, **factory)) if gated else None
        self.to_kv_context = operations.Linear(dim, 2 * dim, bias=False, **factory)

    def context_heads(self) -> Heads:
        """Keys and values of C, [h, n, d]."""
        k, v = rearrange(self.to_kv_context(self.context), "n (two h d) -> two h n d", two=2, h=self.heads)
        return self.norm_k(k), v

    @torch.no_grad()
    def init_weights(self) -> None:
        """N(0, 0.02) for C; zero for W_O, or for the gate if there is one."""
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
        route: Bool[Tensor, "b ..."] | None,
    ) -> Float[Tensor, "b l c"]:
        """What this stream (normed ``x``) reads from ``other`` (normed); ``rotary`` holds the times of both."""
        mine, theirs = rotary
        keys_values = None
        if other is not None and theirs is not None:
            k, v = self.keys_values(other)
            keys_values = rotate(k, theirs), v
        q = rotate(self.queries(x), mine)
        out = self.merge(context_attention(q, self.context_heads(), keys_values, window=window, route=route))
        return out if self.gate is None else self.gate.tanh().to(out.dtype) * out

    def mass(
        self,
        x: Float[Tensor, "b l c"],
        other: Float[Tensor, "b k c"],
        *,
        rotary: tuple[RotaryTable, RotaryTable],
        window: Bool[Tensor, "l k"] | None,
    ) -> Float[Tensor, "b l"]:
        """The share of each token's attention that C receives when the route is open."""
        q, k = rotate(self.queries(x), rotary[0]), rotate(self.keys_values(other)[0], rotary[1])
        return context_mass(q, self.context_heads()[0], k, window=window)


@dataclass(frozen=True)
class BlockInputs:
    """The inputs of every block of one stream apart from the stream's tokens; ``None`` if absent."""

    geometry: Geometry
    noise: Float[Tensor, "b n six_c"]  # modulation from the noise level and the pooled text
    text: Float[Tensor, "b m s"]
    text_mask: Bool[Tensor, "b m"]
    text_bias: Float[Tensor, "b l m"] | None  # added to the scores of the text tokens
    adapter: AdapterTokens | None
    conditions: dict[str, Any]  # add-on name -> the input of its layers
    other_clock: RotaryTable | None  # times of the other stream's tokens
    window: Bool[Tensor, "l k"] | None  # which tokens of the other stream each token may see
    # Whether it, or each of its tokens, sees the other stream; if closed, only the context tokens.
    route: Bool[Tensor, "b ..."] | None
    silent: Bool[Tensor, " b"] | None  # whether cross-modal attention adds zero
    detached: Bool[Tensor, " b"] | None  # whether the other stream reads this one without a gradient


class StreamBlock(nn.Module):
    """One stream's half of a block. ``add_ons`` holds the layers of add-on files in the order in which they run."""

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
        """Zero for the modulation, the context attention's own initialisation, and torch's for the rest."""
        nn.init.zeros_(self.modulation)
        self.context_attention.init_weights()

    def modulations(self, noise: Float[Tensor, "b n six_c"]) -> tuple[Tensor, ...]:
        """Shift, scale and gate of the self-attention, then of the feed-forward: six tensors [b, n, c]."""
        return (noise.unflatten(-1, self.modulation.shape) + self.modulation.to(noise.dtype)).unbind(-2)

    def attend(self, x: Float[Tensor, "b l c"], inputs: BlockInputs) -> Float[Tensor, "b l c"]:
        """Stage 1, within the stream: self-attention, text with adapter tokens, then the add-ons whose condition is present."""
        shift, scale, gate = self.modulations(inputs.noise)[:3]
        x = x + (1 + gate) * self.self_attention(modulate(x, shift, scale), rotary=inputs.geometry.rotary)
        x = x + self.text_attention(
            self.norm_text(x),
            inputs.text,
            mask=inputs.text_mask,
            adapter=inputs.adapter,
            clock=inputs.geometry.clock,
            bias=inputs.text_bias,
        )
        for name, layer in self.add_ons.items():
            if name in inputs.conditions:
                x = x + layer(x, inputs.conditions[name], inputs.geometry)
        return x

    def exchange(
        self, x: Tensor, mine: Float[Tensor, "b l c"], theirs: Float[Tensor, "b k c"] | None, inputs: BlockInputs
    ) -> Float[Tensor, "b l c"]:
        """Stage 2, between the streams: cross-modal context attention from ``mine`` to ``theirs``, both normed."""
        clocks = inputs.geometry.clock, inputs.other_clock
        update = self.context_attention(mine, theirs, rotary=clocks, window=inputs.window, route=inputs.route)
        return x + (update if inputs.silent is None else update.where(~inputs.silent[:, None, None], 0))

    def feed(self, x: Float[Tensor, "b l c"], inputs: BlockInputs) -> Float[Tensor, "b l c"]:
        """Stage 3, for each token separately: the feed-forward."""
        shift, scale, gate = self.modulations(inputs.noise)[3:]
        return x + (1 + gate) * self.feed_forward(modulate(x, shift, scale))


@dataclass(frozen=True)
class TwinBlock(Streams[StreamBlock]):
    """Both streams' halves of one block."""

    def forward(self, states: Streams[Tensor], inputs: Streams[BlockInputs]) -> Streams[Tensor]:
        """Stage 1 in each stream, stage 2 in both directions, then stage 3 in each stream."""
        states = states.map(lambda x, half, i: half.attend(x, i), self, inputs)
        # Both directions read the states from before either update, so that their order does not matter.
        normed = states.map(lambda x, half: half.norm_context(x), self)
        other = normed.map(_without_gradient_where_detached, inputs).swapped()
        states = states.map(lambda x, half, a, b, i: half.exchange(x, a, b, i), self, normed, other, inputs)
        return states.map(lambda x, half, i: half.feed(x, i), self, inputs)


def _without_gradient_where_detached(x: Float[Tensor, "b l c"], inputs: BlockInputs) -> Float[Tensor, "b l c"]:
    """``x`` as the other stream reads it: without a gradient in the samples marked as detached."""
    return x if inputs.detached is None else x.where(~inputs.detached[:, None, None], x.detach())
