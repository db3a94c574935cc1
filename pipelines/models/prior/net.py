"""The pocket model's prior: JavisDiT's estimator with the pocket vocabulary, encoders of real clips, and readers of the tokens.

Its training losses (InfoNCE, KL with free nats, likelihood of the layout) are ours; see the docstring of this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...core.conditions import Prior
from ...core.schema import Count, Depth, Heads, Width, Words, check_heads
from ...core.streams import Streams
from ..pocket.text import MAX_TOKENS, SPECIAL, WordTokenizer
from .clip import ClipConfig, ClipEncoder, Critic, LayoutReader
from .estimator import PriorConfig, PriorEstimator, TextInput


@dataclass(frozen=True)
class PriorNetConfig:
    """Sizes of the pocket prior, and its vocabulary."""

    words: Words
    video: Width
    audio: Width
    spatial: Count = 32
    temporal: Count = 32
    channels: Width = 16
    hidden: Width = 128
    layers: Depth = 1
    heads: Heads = 4

    def __post_init__(self) -> None:
        check_heads(self.hidden, self.heads)

    @property
    def clip(self) -> ClipConfig:
        return ClipConfig(self.spatial, self.temporal, self.channels, self.video, self.audio)

    @property
    def estimator(self) -> PriorConfig:
        """The configuration of the estimator at this size."""
        return PriorConfig(
            spatial_token_num=self.spatial, temporal_token_num=self.temporal, out_dim=self.channels,
            hidden_size=self.hidden, heads=self.heads, layers=self.layers, text_width=self.hidden,
            text_heads=self.heads, text_layers=self.layers, vocabulary=len(self.words) + len(SPECIAL), positions=MAX_TOKENS,
        )  # fmt: skip


class PriorNet(nn.Module):
    """Priors of texts, and priors of real clips."""

    def __init__(self, config: PriorNetConfig) -> None:
        super().__init__()
        self.config = config
        self.estimator = PriorEstimator(config.estimator)
        self.encoder, self.critic, self.reader = (
            ClipEncoder(config.clip),
            Critic(config.clip),
            LayoutReader(config.clip.tokens * config.channels, config.clip.bins),
        )
        self.tokenizer = WordTokenizer(list(config.words))

    def init_weights(self) -> None:
        """Initialise the estimator's embeddings, which its constructor leaves uninitialised."""
        start = cast(TextInput, self.estimator.text_encoder.modality_preprocessors["text"])
        for parameter in (self.estimator.spatial_query_emb, self.estimator.temporal_query_emb, start.pos_embed):
            nn.init.normal_(parameter, std=0.02)

    def ids(self, texts: Sequence[str]) -> Int[Tensor, "b l"]:
        return self.tokenizer.batch(list(texts))

    @torch.inference_mode()
    def sample(self, texts: Sequence[str], *, seed: int, temperature: float = 1.0) -> Prior:
        """One draw for each text, all with the same ``seed``."""
        return self.estimator.sample(self.ids(texts), seed=seed, temperature=temperature)

    @torch.inference_mode()
    def encode_clips(self, latents: Streams[Tensor], *, seed: int = 0, temperature: float = 0.0) -> Prior:
        """The prior of real clips, from their latents."""
        return Prior(*self.encoder.moments(self.encoder.states(latents)), seed, temperature, self.config.spatial)

    @torch.inference_mode()
    def layout(self, tokens: Float[Tensor, "b n k"]) -> Float[Tensor, "b places bins"]:
        """The probability of an audible event for each place and time bin, as read from the tokens."""
        return self.reader(tokens).sigmoid()
