"""Text encoders as the host's CLIP: the pocket encoder, and the host's T5-XXL and UMT5-XXL set up for JavisDiT."""

from __future__ import annotations

import inspect
import logging
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.sd1_clip
import comfy.text_encoders.pixart_t5
import comfy.text_encoders.sd3_clip
import comfy.text_encoders.wan
import comfy.utils
import folder_paths
import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ...pipelines.core.schema import arguments
from ...pipelines.core.weights import WeightsFile, build, configured
from ...pipelines.models.catalogue import identify
from ...pipelines.models.javisdit.caption import clean, with_aesthetic_score
from ...pipelines.models.javisdit.files import read_checkpoint
from ...pipelines.models.pocket.parse import split_words
from ...pipelines.models.pocket.reading import caption_words, read_prompt
from ...pipelines.models.pocket.text import END, MAX_TOKENS, PAD, TextEncoder, WordTokenizer

log = logging.getLogger(__name__)
WeightedTokens = dict[str, list[list[tuple[int, float]]]]  # "duet" -> prompts -> (token, weight)


def plain_text(text: str) -> str:
    """A prompt without weight syntax such as '(ball:1.2)'."""
    return " ".join(part for part, _ in comfy.sd1_clip.token_weights(text, 1.0))


class HostTokenizer:
    """The pocket tokenizer with the host's interface: in '(ball:1.2)' the weight scales the embedding of the word in the caption that the
    prompt is read as. Prompts are read unless they are tokenized ``as_written``, as negative prompts are."""

    reads_prompts = True

    def __init__(self, words: list[str], **_kwargs: Any) -> None:
        self.words = WordTokenizer(words)

    def notices(self, text: str, *, as_written: bool = False) -> list[str]:
        """What the prompt is read as, what that leaves out, and unknown words."""
        if as_written:
            return [f"Unknown word, replaced by 'something': {word}" for word in self.words.unknown(plain_text(text))]
        return self.words.notices(plain_text(text))

    def tokenize_with_weights(
        self, text: str, _return_word_ids: bool = False, *, as_written: bool = False, **_kwargs: Any
    ) -> WeightedTokens:
        for line in self.notices(text, as_written=as_written):
            log.warning("Duet: %s", line)
        ids = self.words.encode(plain_text(text), as_written=as_written)  # raises if the prompt cannot be encoded
        parts = comfy.sd1_clip.token_weights(text, 1.0)
        weights = [weight for part, weight in parts for _ in split_words(part)]
        reading = read_prompt(plain_text(text)) if not as_written else None
        if reading is not None and reading.changed:
            typed = {word: w for part, w in parts if w != 1 for word in caption_words(part)}
            weights = [typed.get(word, 1.0) for word in split_words(reading.caption)]
        return {"duet": [[*zip(ids[:-1], weights, strict=True), (END, 1.0)]]}

    def state_dict(self) -> dict[str, Tensor]:
        """Empty: the vocabulary is part of the encoder's file."""
        return {}


class HostTextEncoder(nn.Module):
    """The pocket text encoder with the methods that the host's CLIP calls."""

    def __init__(self, file: WeightsFile, *, dtype: torch.dtype, device: Any, **_kwargs: Any) -> None:
        super().__init__()
        self.encoder = build(lambda: configured(TextEncoder, file), file.tensors, source=file.path).to(
            device=device, dtype=dtype
        )
        self.dtypes = {dtype}
        self.device = device

    def set_clip_options(self, options: dict[str, Any]) -> None:
        self.device = options.get("execution_device", self.device)

    def reset_clip_options(self) -> None:
        """Nothing to reset: the execution device is set before every use."""

    @torch.inference_mode()
    def encode_token_weights(self, tokens: WeightedTokens) -> tuple[Tensor, None]:
        rows = [row + [(PAD, 1.0)] * (MAX_TOKENS - len(row)) for row in tokens["duet"]]
        ids = torch.tensor([[token for token, _ in row] for row in rows], device=self.device)
        weights = torch.tensor([[weight for _, weight in row] for row in rows], device=self.device)
        embedding = self.encoder(ids).float() * weights[..., None]
        return embedding.to(comfy.model_management.intermediate_device()), None


def build_clip(file: WeightsFile) -> comfy.sd.CLIP:
    """The pocket text encoder as a CLIP, so that stock text nodes, offloading and hooks work."""
    words = arguments(TextEncoder, file.config, source=file.path)["words"]
    target = SimpleNamespace(params={}, clip=partial(HostTextEncoder, file), tokenizer=partial(HostTokenizer, words))
    return comfy.sd.CLIP(
        target, parameters=sum(value.numel() for value in file.tensors.values()), model_options={"dtype": torch.float32}
    )


class V01Tokenizer(comfy.text_encoders.pixart_t5.PixArtTokenizer):
    """T5 tokens of the prompt in the form v0.1 was trained with. No padding is added, so no mask is needed."""

    one_text, null_is_zero = True, True
    LONGEST = 300

    def tokenize_with_weights(self, text: str, *args: Any, **kwargs: Any) -> WeightedTokens:
        # Cleaning would remove the weight syntax, so the parts of a weighted prompt are cleaned separately.
        parts = comfy.sd1_clip.token_weights(with_aesthetic_score(text), 1.0)
        cleaned = ((clean(clean(part)), weight) for part, weight in parts)
        prompt = " ".join(part if weight == 1 else f"({part}:{weight:g})" for part, weight in cleaned)
        tokens = super().tokenize_with_weights(prompt, *args, **kwargs)
        (row,) = tokens["t5xxl"]
        return {"t5xxl": [row if len(row) <= self.LONGEST else [*row[: self.LONGEST - 1], row[-1]]]}


class V10Tokenizer(comfy.text_encoders.wan.WanT5Tokenizer):
    """UMT5 tokens of the unmodified prompt."""

    one_text = True
    empty_negative = (
        "The negative prompt is empty. JavisDiT v1.0 expects a specific negative prompt, which we cannot redistribute: copy "
        "'neg_prompt' from configs/javisdit-v1-0/inference/sample.py of the repository JavisVerse/JavisDiT."
    )


@cache
def clip_bpe() -> Any:
    """CLIP's byte-pair encoding, from the vocabulary included in the host."""
    folder = Path(inspect.getfile(comfy.sd1_clip)).parent / "sd1_tokenizer"
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    return lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]


ENCODERS = {
    "T5-XXL": ("t5xxl", comfy.text_encoders.pixart_t5.pixart_te, V01Tokenizer),
    "UMT5-XXL": ("umt5xxl", comfy.text_encoders.wan.te, V10Tokenizer),
}


def build_t5(path: Path, expected: str) -> comfy.sd.CLIP:
    """'T5-XXL' or 'UMT5-XXL' as the host's CLIP, with the layer sizes found in the file.

    Raises:
        ValueError: the file is of another kind or incomplete.
    """
    # The host does not read sharded folders.
    tensors, metadata = (
        (read_checkpoint(path), None)
        if path.is_dir()
        else comfy.utils.load_torch_file(str(path), safe_load=True, return_metadata=True)
    )
    if hasattr(comfy.utils, "convert_old_quants"):
        tensors, metadata = comfy.utils.convert_old_quants(tensors, model_prefix="", metadata=metadata)
    if (found := identify(tensors)) != expected:
        raise ValueError(f"{path}: this is {found}; {expected} is required here. Choose another file.")
    name, encoder, tokenizer = ENCODERS[expected]
    first = "encoder.block.0.layer"
    inner, heads = (
        tensors[f"{first}.0.SelfAttention.q.weight"].shape[0],
        tensors[f"{first}.0.SelfAttention.relative_attention_bias.weight"].shape[1],
    )
    sizes = {
        "num_layers": sum(key.endswith("SelfAttention.q.weight") for key in tensors),
        "vocab_size": tensors["shared.weight"].shape[0],
        "d_model": tensors["shared.weight"].shape[1],
        "d_ff": tensors[f"{first}.1.DenseReluDense.wi_0.weight"].shape[0],
        "d_kv": inner // heads,
        "num_heads": heads,
    }
    target = SimpleNamespace(
        params={}, clip=encoder(**comfy.text_encoders.sd3_clip.t5_xxl_detect(tensors)), tokenizer=tokenizer
    )
    clip = comfy.sd.CLIP(
        target,
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        tokenizer_data={"spiece_model": tensors.get("spiece_model")},
        parameters=comfy.utils.calculate_parameters(tensors),
        model_options={f"{name}_model_config": sizes},
    )
    missing, _ = clip.load_sd(tensors)
    if absent := [key for key in missing if key.startswith(("encoder.", "shared."))]:
        raise ValueError(f"{path}: {len(absent)} tensors are missing, e.g. {absent[0]}. Download the file again.")
    return clip
