"""The HiST-Sypo prior estimator of JavisDiT, at the released size and at pocket size: text to a Gaussian over spatial and temporal prior
tokens.

The text tower is ImageBind's (the last states of its trunk, before the head). Attribute names are the official checkpoint keys. The
training losses are those of the package docstring; this module is only the network.

Letters: b batch, l text tokens, n prior tokens, k channels of a prior token, c channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...core.conditions import Prior

POSITIONS = 77
START, END, PAD = 49406, 49407, 0
VOCABULARY = 49408
# Tensors in the files that the prior does not use: the text tower's head and temperature.
UNUSED_KEYS = ("text_encoder.modality_heads.", "text_encoder.modality_postprocessors.")
LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -30.0, 20.0


def token_ids(text: str, bpe: Callable[[str], list[int]]) -> Int[Tensor, "1 77"]:
    """CLIP token ids with ImageBind's padding; ``bpe`` adds no start and end tokens. A long text is cut and loses its end token."""
    ids = [START, *bpe(text), END][:POSITIONS]
    return torch.tensor([ids + [PAD] * (POSITIONS - len(ids))])


@dataclass(frozen=True)
class PriorConfig:
    """Sizes; the defaults are the released ones."""

    spatial_token_num: int = 32
    temporal_token_num: int = 32
    out_dim: int = 128
    hidden_size: int = 512
    heads: int = 4
    layers: int = 4
    text_width: int = 1024
    text_heads: int = 16
    text_layers: int = 24
    vocabulary: int = VOCABULARY
    positions: int = POSITIONS


class TextBlock(nn.Module):
    """Pre-norm causal self-attention and a feed-forward with exact GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm_1, self.norm_2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Float[Tensor, "b l c"], mask: Float[Tensor, "l l"]) -> Float[Tensor, "b l c"]:
        normed = self.norm_1(x)
        x = x + self.attn(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm_2(x))))


class TextInput(nn.Module):
    """Token and position embeddings, and the causal mask."""

    mask: Tensor

    def __init__(self, width: int, vocabulary: int, positions: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.pos_embed = nn.Parameter(torch.empty(1, positions, width))
        self.register_buffer("mask", torch.full((positions, positions), -torch.inf).triu(1))


class TextTower(nn.Module):
    """ImageBind's text branch with its parameter names, without its head."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        width = config.text_width
        self.modality_preprocessors = nn.ModuleDict({"text": TextInput(width, config.vocabulary, config.positions)})
        blocks = nn.ModuleList(TextBlock(width, config.text_heads) for _ in range(config.text_layers))
        self.modality_trunks = nn.ModuleDict({"text": nn.ModuleDict({"blocks": blocks})})

    def forward(self, ids: Int[Tensor, "b l"]) -> Float[Tensor, "b l c"]:
        start = cast(TextInput, self.modality_preprocessors["text"])
        trunk = cast(nn.ModuleDict, self.modality_trunks["text"])
        length = ids.shape[1]
        x = start.token_embedding(ids) + start.pos_embed[:, :length]
        for block in cast(nn.ModuleList, trunk["blocks"]):
            x = block(x, start.mask[:length, :length])
        return x


class PriorEstimator(nn.Module):
    """Text states to the moments of the prior; queries for spatial and temporal tokens read the states through a transformer.

    The decoder uses ReLU: the reference passes tanh GELU as a module, which torch drops when it copies a decoder layer, so that the
    released weights were trained with ReLU.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config, hidden = config, config.hidden_size
        self.text_encoder = TextTower(config)
        self.spatial_query_emb = nn.Parameter(torch.empty(1, config.spatial_token_num, hidden))
        self.temporal_query_emb = nn.Parameter(torch.empty(1, config.temporal_token_num, hidden))
        self.in_proj = nn.Linear(config.text_width, hidden)
        # torch's fused encoder layer would compute the exact GELU; a partial function disables the fused path.
        gelu = partial(F.gelu, approximate="tanh")
        common: dict[str, Any] = {
            "dim_feedforward": 4 * hidden,
            "dropout": 0.0,
            "batch_first": True,
            "norm_first": True,
        }
        layer = nn.TransformerEncoderLayer(hidden, config.heads, activation=gelu, **common)
        encoder = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.prior_extractor = nn.Transformer(
            hidden, config.heads, num_decoder_layers=config.layers, activation=F.relu, custom_encoder=encoder, **common
        )
        self.out_proj = nn.Linear(hidden, 2 * config.out_dim)

    def moments(self, ids: Int[Tensor, "b l"]) -> tuple[Float[Tensor, "b n k"], Float[Tensor, "b n k"]]:
        """Mean and log variance of each prior token, spatial tokens first."""
        return self.moments_of(self.text_encoder(ids))

    def moments_of(self, states: Float[Tensor, "b l c"]) -> tuple[Float[Tensor, "b n k"], Float[Tensor, "b n k"]]:
        """``moments`` from the states of the text tower."""
        queries = torch.cat([self.spatial_query_emb, self.temporal_query_emb], dim=1).expand(len(states), -1, -1)
        mean, log_variance = self.out_proj(self.prior_extractor(self.in_proj(states), queries)).chunk(2, dim=-1)
        return mean, log_variance.clamp(LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE)

    def sample(self, ids: Int[Tensor, "b l"], *, seed: int, temperature: float = 1.0) -> Prior:
        """One draw for each text; ``temperature`` multiplies the standard deviation (0: the mean). As in the reference, noise is generated
        on the CPU, so that a seed gives the same draw on every machine."""
        return Prior(*self.moments(ids), seed, temperature, self.config.spatial_token_num)
