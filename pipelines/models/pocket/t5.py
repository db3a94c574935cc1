"""The T5 encoder (Raffel et al., 2020; version 1.1 with gated GELU), with the parameter names of transformers' ``T5EncoderModel``.

Importing transformers takes longer than sampling a pocket clip, so the small text encoder has its own implementation. Full-size encoders
use transformers or the host's classes.
Letters: b batch, m tokens, h heads, d head width, c channels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

EPSILON = 1e-6
BUCKETS, FARTHEST = (
    32,
    128,
)  # buckets of relative positions, half of them for later tokens; distances from FARTHEST on share the last


def position_buckets(count: int) -> Int[Tensor, "m m"]:
    """The bucket of each pair (query, key): exact for near tokens, logarithmic for distant ones."""
    position = torch.arange(count)
    relative = position[None, :] - position[:, None]
    side, exact = BUCKETS // 2, BUCKETS // 4
    distance = relative.abs()
    share = (distance.clamp_min(1).float() / exact).log() / math.log(FARTHEST / exact)
    distant = (exact + (share * (side - exact)).long()).clamp_max(side - 1)
    return (relative > 0).long() * side + torch.where(distance < exact, distance, distant)


class T5Norm(nn.Module):
    """Root mean square norm without a bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "b m c"]) -> Float[Tensor, "b m c"]:
        variance = x.float().square().mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(variance + EPSILON)).to(self.weight.dtype)


class SelfAttention(nn.Module):
    """Attention without scaling of the logits. The first block's relative position biases serve all blocks."""

    def __init__(self, dim: int, heads: int, *, biased: bool) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.relative_attention_bias = nn.Embedding(BUCKETS, heads) if biased else None

    def forward(self, x: Float[Tensor, "b m c"], bias: Float[Tensor, "b h m m"]) -> Float[Tensor, "b m c"]:
        q, k, v = (rearrange(f(x), "b m (h d) -> b h m d", h=self.heads) for f in (self.q, self.k, self.v))
        weights = (q @ k.transpose(-1, -2) + bias).float().softmax(-1).type_as(q)
        return self.o(rearrange(weights @ v, "b h m d -> b m (h d)"))


class GatedFeedForward(nn.Module):
    """wo(gelu(wi_0 x) * wi_1 x)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.wi_0, self.wi_1 = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.wo = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "b m c"]) -> Float[Tensor, "b m c"]:
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class Sublayer(nn.Module):
    """x + f(norm(x)), where f is stored under the name ``name``."""

    def __init__(self, dim: int, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, inner)
        self.layer_norm = T5Norm(dim)

    def forward(self, x: Float[Tensor, "b m c"], *args: Tensor) -> Float[Tensor, "b m c"]:
        return x + self.get_submodule(self.name)(self.layer_norm(x), *args)


class Block(nn.Module):
    """Self-attention, then the feed-forward."""

    def __init__(self, dim: int, heads: int, *, first: bool) -> None:
        super().__init__()
        attention = SelfAttention(dim, heads, biased=first)
        feed_forward = GatedFeedForward(dim, 2 * dim)
        self.layer = nn.ModuleList(
            [Sublayer(dim, "SelfAttention", attention), Sublayer(dim, "DenseReluDense", feed_forward)]
        )

    def forward(self, x: Float[Tensor, "b m c"], bias: Float[Tensor, "b h m m"]) -> Float[Tensor, "b m c"]:
        attend, feed = self.layer
        return feed(attend(x, bias))


class Stack(nn.Module):
    """The embeddings, the blocks and the last norm."""

    def __init__(self, embed: nn.Embedding, *, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed_tokens = embed
        self.block = nn.ModuleList(Block(dim, heads, first=k == 0) for k in range(depth))
        self.final_layer_norm = T5Norm(dim)


class T5Encoder(nn.Module):
    """Token ids [b, m] and their mask to states [b, m, dim]."""

    def __init__(self, words: int, *, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.shared = nn.Embedding(words, dim)
        self.encoder = Stack(self.shared, dim=dim, depth=depth, heads=heads)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """T5's initialisation: the logits are not scaled, so the queries' weights are small."""
        dim = self.shared.embedding_dim
        nn.init.normal_(self.shared.weight)
        for module in self.modules():
            if isinstance(module, SelfAttention):
                nn.init.normal_(module.q.weight, std=(dim * dim / module.heads) ** -0.5)
                for linear in (module.k, module.v, module.o):
                    nn.init.normal_(linear.weight, std=dim**-0.5)
                if module.relative_attention_bias is not None:
                    nn.init.normal_(module.relative_attention_bias.weight, std=dim**-0.5)
            elif isinstance(module, GatedFeedForward):
                for linear in (module.wi_0, module.wi_1):
                    nn.init.normal_(linear.weight, std=dim**-0.5)
                nn.init.normal_(module.wo.weight, std=module.wo.in_features**-0.5)

    def forward(self, tokens: Int[Tensor, "b m"], mask: Bool[Tensor, "b m"]) -> Float[Tensor, "b m dim"]:
        x = self.shared(tokens)
        bias = (
            self._biases(tokens.shape[1])
            + torch.zeros_like(mask, dtype=x.dtype).masked_fill(~mask, torch.finfo(x.dtype).min)[:, None, None]
        )
        for block in self.encoder.block:
            x = block(x, bias)
        return self.encoder.final_layer_norm(x)

    def _biases(self, count: int) -> Float[Tensor, "1 h m m"]:
        table = self.get_parameter("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
        return table[position_buckets(count).to(table.device)].permute(2, 0, 1)[None]
