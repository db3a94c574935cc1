"""The pocket text encoder as the host's CLIP."""

from __future__ import annotations

import logging
from functools import partial
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.sd1_clip
import torch
from torch import Tensor, nn

from ...pipelines.models.pocket.load import configured
from ...pipelines.models.pocket.text import END, MAX_TOKENS, PAD, TextEncoder, UnknownWord, WordTokenizer
from ...pipelines.weights import WeightsFile, fill

log = logging.getLogger(__name__)
WeightedTokens = dict[str, list[list[tuple[int, float]]]]  # "duet" -> prompts -> (token, weight)


def plain_text(text: str) -> str:
    """A prompt without the host's weight marks."""
    return " ".join(part for part, _ in comfy.sd1_clip.token_weights(text, 1.0))


class HostTokenizer:
    """The pocket tokenizer behind the host's: in '(ball:1.2)' the weight scales the word's embedding."""

    def __init__(self, words: list[str], **_kwargs: Any) -> None:
        self.words = WordTokenizer(words)

    def unknown(self, text: str) -> list[UnknownWord]:
        """The words of ``text`` outside the vocabulary."""
        return self.words.unknown(plain_text(text))

    def tokenize_with_weights(self, text: str, _return_word_ids: bool = False, **_kwargs: Any) -> WeightedTokens:
        if strangers := self.unknown(text):
            log.warning("Duet: unknown words, read as 'something': %s", "; ".join(map(str, strangers)))
        self.words.encode(plain_text(text))  # refuses a prompt that is too long, or of which nothing is known
        parts = comfy.sd1_clip.token_weights(text, 1.0)
        row = [(self.words.number(word), weight) for part, weight in parts for word in self.words.split(part)]
        return {"duet": [[*row, (END, 1.0)]]}

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: the vocabulary is part of the encoder's file."""
        return {}


class HostTextEncoder(nn.Module):
    """The pocket text encoder with the methods that the host's CLIP object calls."""

    def __init__(self, file: WeightsFile, *, dtype: torch.dtype, device: Any, **_kwargs: Any) -> None:
        super().__init__()
        self.encoder = fill(configured(TextEncoder, file), file.tensors, source=file.path).to(
            device=device, dtype=dtype
        )
        self.dtypes = {dtype}
        self.device = device

    def set_clip_options(self, options: dict[str, Any]) -> None:
        self.device = options.get("execution_device", self.device)

    def reset_clip_options(self) -> None:
        """The execution device is set again before every use."""

    @torch.inference_mode()
    def encode_token_weights(self, tokens: WeightedTokens) -> tuple[Tensor, None]:
        rows = [row + [(PAD, 1.0)] * (MAX_TOKENS - len(row)) for row in tokens["duet"]]
        ids = torch.tensor([[token for token, _ in row] for row in rows], device=self.device)
        weights = torch.tensor([[weight for _, weight in row] for row in rows], device=self.device)
        embedding = self.encoder(ids).float() * weights[..., None]
        return embedding.to(comfy.model_management.intermediate_device()), None


def build_clip(file: WeightsFile) -> comfy.sd.CLIP:
    """The pocket text encoder as a CLIP: stock text nodes, offload and hooks work on it."""
    target = SimpleNamespace(
        params={}, clip=partial(HostTextEncoder, file), tokenizer=partial(HostTokenizer, file.config["words"])
    )
    return comfy.sd.CLIP(
        target, parameters=sum(value.numel() for value in file.tensors.values()), model_options={"dtype": torch.float32}
    )
