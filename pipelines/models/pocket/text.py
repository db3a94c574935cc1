"""The pocket text encoder: a closed vocabulary and a small T5 encoder."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...core.schema import Depth, Heads, Length, Width, check_heads
from .parse import split_words
from .reading import read_prompt
from .t5 import T5Encoder

PAD, END, UNKNOWN = 0, 1, 2
SPECIAL = ("<pad>", "</s>", "<unk>")
MAX_TOKENS = 48


@dataclass(frozen=True)
class UnknownWord:
    """A word outside the vocabulary, with the known words nearest in spelling."""

    word: str
    nearest: tuple[str, ...]

    def __str__(self) -> str:
        hint = f" (nearest known: {', '.join(self.nearest)})" if self.nearest else ""
        return f"'{self.word}'{hint}"


class WordTokenizer:
    """Prompts to token ids. A prompt is read as a caption of the world first; a text that is encoded as written keeps every word, and an
    unknown word becomes ``<unk>``."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [*SPECIAL, *words]
        self.index = {word: i for i, word in enumerate(self.words)}

    def unknown(self, text: str) -> list[UnknownWord]:
        """The words of ``text`` outside the vocabulary, in order, each once."""
        return self._with_nearest(word for word in split_words(text) if word not in self.index)

    def notices(self, prompt: str) -> list[str]:
        """What a user should know about a prompt: the caption it is read as if that differs from the prompt, what the caption leaves
        out, and the words that the prompt reader ignored.

        Raises:
            ValueError: the prompt names a subject that the world does not have, or none at all.
        """
        reading = read_prompt(prompt)
        lines = [f"Prompt read as: {reading.caption}"] if reading.changed else []
        ignored = [f"Unknown word, ignored: {word}" for word in self._with_nearest(reading.unknown)]
        return [*lines, *reading.remarks, *ignored]

    def _with_nearest(self, words: Iterable[str]) -> list[UnknownWord]:
        known = self.words[len(SPECIAL) :]
        return [
            UnknownWord(word, tuple(difflib.get_close_matches(word, known, n=3, cutoff=0.5)))
            for word in dict.fromkeys(words)
        ]

    def number(self, word: str) -> int:
        """The token id of one lower-case word."""
        return self.index.get(word, UNKNOWN)

    def encode(self, text: str, *, as_written: bool = False) -> list[int]:
        """Token ids with the end token, unpadded: of the caption that a prompt is read as, or of the words ``as_written``, as for negative
        prompts and training captions.

        Raises:
            ValueError: the prompt cannot be read, there are more than ``MAX_TOKENS - 1`` words, or none of the words is known.
        """
        words = split_words(text if as_written else read_prompt(text).caption)
        if len(words) >= MAX_TOKENS:
            raise ValueError(
                f"The prompt has {len(words)} words; the pocket text encoder takes at most {MAX_TOKENS - 1}. Shorten it."
            )
        ids = [self.number(word) for word in words]
        if ids and all(i == UNKNOWN for i in ids):
            raise ValueError(
                f"None of the prompt's words is known: {'; '.join(map(str, self.unknown(text)))}. "
                "Example: 'a small red ball bounces slowly on the left at night'."
            )
        return [*ids, END]

    def batch(self, texts: list[str], *, as_written: bool = False) -> Int[Tensor, "b m"]:
        """Token ids padded to ``MAX_TOKENS``."""
        rows = [self.encode(text, as_written=as_written) for text in texts]
        return torch.tensor([row + [PAD] * (MAX_TOKENS - len(row)) for row in rows])


class TextEncoder(nn.Module):
    """Token ids [b, m] to embeddings [b, m, dim]; padding becomes all-zero rows, which the networks mask."""

    tokenizer: WordTokenizer

    def __init__(
        self, *, words: Annotated[list[str], Length(1, 65_536)], dim: Width, depth: Depth, heads: Heads
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.config = {"words": words, "dim": dim, "depth": depth, "heads": heads}
        self.tokenizer = WordTokenizer(words)
        self.t5 = T5Encoder(len(self.tokenizer.words), dim=dim, depth=depth, heads=heads)

    def forward(self, tokens: Int[Tensor, "b m"]) -> Float[Tensor, "b m dim"]:
        mask = tokens != PAD
        return self.t5(tokens, mask) * mask[..., None]

    @torch.no_grad()
    def embed(self, texts: list[str], *, as_written: bool = False) -> Float[Tensor, "b m dim"]:
        """The embeddings of prompts, on the encoder's device."""
        return self(self.tokenizer.batch(texts, as_written=as_written).to(self.t5.shared.weight.device))
