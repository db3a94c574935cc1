"""The Gemma text encoder of LTX-2: a folder in transformers' layout, or the single file that ComfyUI loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.pretrained import load_part
from ...core.tensor_file import TensorFile
from ..parts import fingerprint, part_config

TOKENIZER = "tokenizer_config.json"
MODEL, SENTENCEPIECE = (
    "model.",
    "spiece_model",
)  # of the single file: prefix of the language model, tensor with the tokenizer
LAYER = "model.layers.0."
ARCHITECTURES = ("Gemma3ForConditionalGeneration", "Gemma3ForCausalLM", "Gemma3Model", "Gemma3TextModel")  # of a folder
PAD, BEGIN = 0, 2  # Gemma 3's tokens
# Gemma 3 12B, as in ComfyUI; its tensors do not show it.
CONSTANTS = {
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    "sliding_window": 1024,
    "hidden_activation": "gelu_pytorch_tanh",
}


@dataclass(frozen=True)
class GemmaFolder:
    """The model and its tokenizer in folders of transformers."""

    path: Path
    tokenizer: Path

    @classmethod
    def open(cls, path: Path) -> GemmaFolder:
        """The model in ``path`` with its tokenizer there or in the folder ``tokenizer`` beside it.

        Raises:
            ValueError: there is no tokenizer.
        """
        places = (path, path.parent / "tokenizer")
        found = [place for place in places if (place / TOKENIZER).is_file()]
        if not found:
            raise ValueError(
                f"Neither {places[0]} nor {places[1]} holds {TOKENIZER}. Download Gemma with its tokenizer in transformers' layout."
            )
        return cls(path, found[0])

    def states(self) -> tuple[int, int]:
        """Width of the states, and their number for each token: one for the embeddings and one for each layer."""
        from transformers import AutoConfig

        self._architecture()
        config = load_part(AutoConfig, self.path).get_text_config()
        return config.hidden_size, config.num_hidden_layers + 1

    def fingerprint(self) -> str:
        """A hash of the model."""
        self._architecture()
        return fingerprint([self.path])

    def load(self, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
        """Tokenizer and model."""
        import transformers

        kind = getattr(transformers, self._architecture())
        encoder = load_part(kind, self.path, dtype=dtype, use_safetensors=True)
        tokenizer = load_part(transformers.AutoTokenizer, self.tokenizer)
        return tokenizer, encoder.to(device).eval()

    def _architecture(self) -> str:
        names = part_config(self.path, "Gemma", "architectures")["architectures"]
        if not (isinstance(names, list) and names) or names[0] not in ARCHITECTURES:
            raise ValueError(
                f"{self.path / 'config.json'}: the architecture is {names!r}; it must be one of {', '.join(ARCHITECTURES)}. "
                "Download Gemma 3 again."
            )
        return names[0]


@dataclass(frozen=True)
class GemmaFile:
    """Gemma 3 in one file as ComfyUI loads it, whose tensor ``spiece_model`` is the tokenizer."""

    path: Path

    @cached_property
    def _file(self) -> TensorFile:
        file = TensorFile.open(self.path)
        if missing := {f"{LAYER}self_attn.q_norm.weight", SENTENCEPIECE} - set(file.shapes):
            raise ValueError(
                f"{self.path} has no tensor {min(missing)}: it is not a Gemma 3 text encoder as ComfyUI loads it. Choose one of its files "
                "for LTX-2.0 and 2.3, or a folder of Gemma in transformers' layout."
            )
        return file

    def _sizes(self) -> dict[str, int]:
        """Arguments of transformers' ``Gemma3TextConfig`` that the tensors show."""
        shapes, head = self._file.shapes, self._file.shapes[f"{LAYER}self_attn.q_norm.weight"][0]
        vocabulary, width = shapes[f"{MODEL}embed_tokens.weight"]
        rows = {name: shapes[f"{LAYER}{name}.weight"][0] for name in ("self_attn.q_proj", "self_attn.k_proj")}
        return {
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": shapes[f"{LAYER}mlp.gate_proj.weight"][0],
            "num_hidden_layers": len({name.split(".")[2] for name in self._file.names(f"{MODEL}layers.")}),
            "num_attention_heads": rows["self_attn.q_proj"] // head,
            "num_key_value_heads": rows["self_attn.k_proj"] // head,
            "head_dim": head,
            "query_pre_attn_scalar": head,
        }

    def states(self) -> tuple[int, int]:
        """Width of the states, and their number for each token: one for the embeddings and one for each layer."""
        sizes = self._sizes()
        return sizes["hidden_size"], sizes["num_hidden_layers"] + 1

    def fingerprint(self) -> str:
        """A hash of the language model."""
        return self._file.digest(self._file.names(MODEL))

    def load(self, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
        """Tokenizer and model."""
        from transformers import Gemma3ForCausalLM, Gemma3TextConfig

        tokenizer = SentencePieceTokenizer(self._file.raw(SENTENCEPIECE))
        names = {name: name for name in self._file.names(f"{MODEL}layers.", f"{MODEL}embed_tokens.", f"{MODEL}norm.")}
        encoder: Any = Gemma3ForCausalLM.from_pretrained(
            None,
            config=Gemma3TextConfig(**self._sizes(), **CONSTANTS),
            state_dict=self._file.read(names, device, dtype),
            dtype=dtype,
        )
        return tokenizer, encoder.to(device).eval()


def open_gemma(path: Path) -> GemmaFolder | GemmaFile:
    """The text encoder in a folder or a file.

    Raises:
        ValueError: a folder without a tokenizer.
    """
    return GemmaFolder.open(path) if path.is_dir() else GemmaFile(path)


class Words(dict[str, Tensor]):
    """'input_ids' and 'attention_mask', [1, n]."""

    def to(self, device: torch.device) -> Words:
        """The same on ``device``."""
        return Words({name: value.to(device) for name, value in self.items()})


class SentencePieceTokenizer:
    """Tokens of Gemma 3 as ComfyUI computes them, called as a tokenizer of transformers is, with padding on the left."""

    padding_side, pad_token, eos_token = "left", "<pad>", "<eos>"
    model_max_length = 131_072

    def __init__(self, model: bytes) -> None:
        """``model``: a serialised SentencePiece model.

        Raises:
            ValueError: the package sentencepiece is not installed.
        """
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise ValueError(
                "A text encoder in one file needs the package sentencepiece. Install it with 'pip install sentencepiece', or name a folder "
                "of Gemma in transformers' layout."
            ) from error
        self.processor: Any = SentencePieceProcessor(model_proto=model)

    def __call__(self, captions: Sequence[str], *, max_length: int, **_: Any) -> Words:
        (caption,) = captions
        tokens = [BEGIN, *self.processor.encode(caption)][:max_length]
        padding = max_length - len(tokens)
        mask = torch.tensor([[0] * padding + [1] * len(tokens)])
        return Words(input_ids=torch.tensor([[PAD] * padding + tokens]), attention_mask=mask)
