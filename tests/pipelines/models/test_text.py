"""The pocket text encoder: unknown words, limits, padding."""

import pytest
import torch

from duet_av.pipelines.models.pocket.text import END, MAX_TOKENS, UNKNOWN, TextEncoder, WordTokenizer
from duet_av.pipelines.world import vocabulary


@pytest.fixture
def tokenizer():
    return WordTokenizer(vocabulary())


def test_an_unknown_word_is_reported_with_its_nearest_and_encoded_as_unk(tokenizer):
    (word,) = tokenizer.unknown("a bouncy ball")
    assert (word.word, word.nearest[0]) == ("bouncy", "bounces")
    assert tokenizer.encode("a bouncy ball", as_written=True)[1] == UNKNOWN


def test_case_and_punctuation_do_not_matter(tokenizer):
    assert tokenizer.encode("A small, RED ball!") == tokenizer.encode("a small red ball")
    assert tokenizer.unknown("A small, RED ball!") == []


def test_the_empty_text_is_the_null_text(tokenizer):
    assert tokenizer.encode("") == [END]


def test_a_too_long_text_is_refused(tokenizer):
    assert len(tokenizer.encode("ball " * (MAX_TOKENS - 1), as_written=True)) == MAX_TOKENS
    with pytest.raises(ValueError, match="48 words; the pocket text encoder takes at most 47"):
        tokenizer.encode("ball " * MAX_TOKENS, as_written=True)


def test_a_text_of_only_unknown_words_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"None of the prompt's words is known: 'zebra'"):
        tokenizer.encode("zebra quartz", as_written=True)


def test_only_padding_becomes_zero_rows():
    encoder = TextEncoder(words=vocabulary(), dim=16, depth=1, heads=2)
    with torch.no_grad():
        rows = encoder.embed(["a small red ball", ""], as_written=True)
    assert rows.shape == (2, MAX_TOKENS, 16)
    used = rows.abs().amax(-1) > 0
    assert used.sum(1).tolist() == [5, 1]
