"""The pocket model's prior: JavisDiT's estimator over our words, the encoders of true clips, and what reads the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...core.conditions import Prior
from ...core.streams import Streams
from ..pocket.text import MAX_TOKENS, SPECIAL, WordTokenizer
from .clip import ClipConfig, ClipEncoder, Critic, LayoutReader
from .estimator import PriorConfig, PriorEstimator, TextInput


@dataclass(frozen=True)
class PriorNetConfig:
    """Sizes of the pocket prior and the words it knows."""

    words: tuple[str, ...]
    video: int
    audio: int
    spatial: int = 32
    temporal: int = 32
    channels: int = 16
    hidden: int = 128
    layers: int = 1
    heads: int = 4

    @property
    def clip(self) -> ClipConfig:
        return ClipConfig(self.spatial, self.temporal, self.channels, self.video, self.audio)

    @property
    def estimator(self) -> PriorConfig:
        """The released class at this size."""
        return PriorConfig(
            spatial_token_num=self.spatial, temporal_token_num=self.temporal, out_dim=self.channels,
            hidden_size=self.hidden, heads=self.heads, layers=self.layers, text_width=self.hidden,
            text_heads=self.heads, text_layers=self.layers, vocabulary=len(self.words) + len(SPECIAL), positions=MAX_TOKENS,
        )  # fmt: skip


class PriorNet(nn.Module):
    """Texts to priors, clips to their own."""

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
        """What torch leaves undefined: the estimator's embeddings."""
        start = cast(TextInput, self.estimator.text_encoder.modality_preprocessors["text"])
        for parameter in (self.estimator.spatial_query_emb, self.estimator.temporal_query_emb, start.pos_embed):
            nn.init.normal_(parameter, std=0.02)

    def ids(self, texts: Sequence[str]) -> Int[Tensor, "b l"]:
        return self.tokenizer.batch(list(texts))

    @torch.inference_mode()
    def sample(self, texts: Sequence[str], *, seed: int, temperature: float = 1.0) -> Prior:
        """One draw for each text, all from one ``seed``."""
        return self.estimator.sample(self.ids(texts), seed=seed, temperature=temperature)

    @torch.inference_mode()
    def of_clips(self, latents: Streams[Tensor], *, seed: int = 0, temperature: float = 0.0) -> Prior:
        """The prior of true clips, from their latents."""
        return Prior(*self.encoder.moments(self.encoder.states(latents)), seed, temperature, self.config.spatial)

    @torch.inference_mode()
    def layout(self, tokens: Float[Tensor, "b n k"]) -> Float[Tensor, "b places bins"]:
        """How likely something happens where and when, as the tokens say."""
        return self.reader(tokens).sigmoid()
