"""The full-size planner: a released Qwen3 from a folder of the user (Baton starts from Qwen3-8B).

Baton's towers have not been released. Therefore this planner writes timelines but refuses to plan tokens.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ...core.conditions import Plan
from ...core.pretrained import load_part
from ...core.timeline import MARKS, PLACES, Timeline
from .language import MAX_EVENTS, check_temperature

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

WORDS = tuple(word for word in MARKS.values() if word)  # after an event
MAX_LETTERS = 16  # of the word that names an event
MIN_EVENTS = 1
TOWERS = "towers.safetensors"
TASK = (
    "You plan short video clips with sound. Write what happens, one event a line, in order of time: seconds from the start with two "
    "decimals, one lower-case word for what it is, left, middle or right, and behind it 'silent' if it makes no sound or 'unseen' if it "
    "is not in the picture. Example:\n0.35 bell left\n1.20 dog right unseen\nThe clip lasts {seconds:g} seconds. Nothing but such lines."
)


@dataclass(frozen=True)
class LineGrammar:
    """The grammar of a timeline's text form: which prefixes can be extended to a valid timeline for a clip of ``seconds``."""

    seconds: float

    def is_prefix(self, text: str) -> bool:
        """Whether ``text`` is a prefix of a valid timeline of at most ``MAX_EVENTS`` lines in order of time."""
        *lines, last = text.split("\n")
        if len(lines) + bool(last) > MAX_EVENTS or not all(self._is_complete_line(line) for line in lines):
            return False
        times = [float(line.split(" ")[0]) for line in lines]
        return times == sorted(times) and self._is_line_prefix(last, times[-1] if times else 0.0)

    def may_end(self, text: str) -> bool:
        """Whether ``text`` is a complete timeline: at least one line, each with a line break."""
        return text.endswith("\n") and text.count("\n") >= MIN_EVENTS

    def _is_complete_line(self, line: str) -> bool:
        parts = line.split(" ")
        return len(parts) in (3, 4) and self._is_line_prefix(line, 0.0) and self._has_valid_fields(parts)

    def _has_valid_fields(self, parts: list[str]) -> bool:
        when, what, where, *mark = parts
        fits = re.fullmatch(r"\d+\.\d\d", when) and float(when) < self.seconds
        return bool(fits and what and where in PLACES) and (not mark or mark[0] in WORDS)

    def _is_line_prefix(self, line: str, earliest: float) -> bool:
        """Whether ``line`` is a prefix of a valid event at ``earliest`` seconds or later."""
        parts = line.split(" ")
        complete = parts[:-1]
        if len(parts) > 4:
            return False
        tests = (
            lambda s: self._is_time_prefix(s, earliest, complete=len(complete) > 0),
            lambda s: re.fullmatch(rf"[a-z]{{0,{MAX_LETTERS}}}", s) is not None,
            lambda s: any(place.startswith(s) for place in PLACES),
            lambda s: any(mark.startswith(s) for mark in WORDS),
        )
        complete_tests = (bool, bool, lambda s: s in PLACES)
        return all(test(s) for test, s in zip(tests, parts, strict=False)) and all(
            test(s) for test, s in zip(complete_tests, complete, strict=False)
        )

    def _is_time_prefix(self, text: str, earliest: float, *, complete: bool) -> bool:
        """Whether some time in [earliest, seconds) starts with ``text``; ``complete``: whether ``text`` itself is such a time."""
        if not text:
            return not complete
        if not re.fullmatch(r"(0|[1-9]\d*)(\.\d{0,2})?", text) or (complete and not re.fullmatch(r".*\.\d\d", text)):
            return False
        number, dot, after = text.partition(".")
        scales = [1] if dot or number == "0" else [1, 10, 100, 1000]  # the integer part may still get more digits
        spans = (
            (
                int(number) * k + int(after.ljust(2, "0")) / 100,
                (int(number) + 1) * k - 1 + int(after.ljust(2, "9")) / 100,
            )
            for k in scales
        )
        return any(low < self.seconds - 0.005 and high > earliest - 0.005 for low, high in spans)


def cache_name(forward: Callable[..., object]) -> str:
    """The name of the key-value cache among the parameters of ``forward``: 'cache' since transformers 5.24, 'past_key_values' before."""
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


class QwenPlanner:
    """A Qwen3 that writes timelines under the grammar, with any event names and for any clip length."""

    def __init__(self, model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        self.model, self.tokenizer, self.folder = model.eval(), tokenizer, folder
        self.cache_name = cache_name(model.forward)

    @torch.inference_mode()
    def write(self, video: str, audio: str, *, seed: int, temperature: float = 1.0, seconds: float = 5.0) -> Timeline:
        """A timeline for the prompts, sampled with ``seed``; temperature 0 takes the most likely token each time.

        Adding Gumbel noise and taking the best token that the grammar allows samples from the model's distribution restricted to allowed
        tokens, and tests no more tokens than necessary.

        Raises:
            ValueError: see ``check_temperature``.
        """
        check_temperature(temperature)
        grammar, generator = LineGrammar(seconds), torch.Generator().manual_seed(seed)
        tokens, cache, text = self._prompt(video, audio, seconds), None, ""
        while True:
            out = self.model(input_ids=tokens, use_cache=True, **{self.cache_name: cache})
            cache, logits = getattr(out, self.cache_name), out.logits[0, -1].double().cpu()
            noise = -torch.rand(logits.shape, generator=generator, dtype=torch.float64).clamp_min(1e-30).log()
            drawn = logits if temperature == 0 else logits / temperature - noise.log()
            token = self._best(drawn, text, grammar)
            if token is None:
                return Timeline.read(text)
            text += self._piece(token)
            tokens = torch.tensor([[token]], device=self.model.device)

    def plan(self, video: str, audio: str, timeline: Timeline | None, *, seed: int = 0) -> Plan:
        """Refuse to plan tokens, which requires trained towers.

        Raises:
            ValueError: always, because no towers have been released.
        """
        raise self.without_towers()

    def without_towers(self) -> ValueError:
        """The error that says why no tokens can be planned."""
        return ValueError(
            f"{self.folder} has no trained towers ({TOWERS}), so it cannot plan tokens. Baton trains them on SigLIP2 and WavTokenizer "
            "features of its clips and has not released them. Use its timeline as text for a host model ('Duet Timeline Prompt') or with "
            "the pocket planner."
        )

    def _prompt(self, video: str, audio: str, seconds: float) -> Tensor:
        request = f"Picture: {video}\nSound: {audio or video}"
        messages = [{"role": "system", "content": TASK.format(seconds=seconds)}, {"role": "user", "content": request}]
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, enable_thinking=False, tokenize=False
            )
        else:  # a base model
            text = f"{messages[0]['content']}\n\n{request}\n\n"
        return torch.tensor([self.tokenizer(cast(str, text))["input_ids"]], device=self.model.device)

    def _piece(self, token: int) -> str:
        return cast(str, self.tokenizer.decode([token]))

    def _best(self, scores: Float[Tensor, " v"], text: str, grammar: LineGrammar) -> int | None:
        """The best token that continues the timeline; ``None`` ends it."""
        end = self.tokenizer.eos_token_id
        for token in scores.argsort(descending=True).tolist():
            if token == end:
                if grammar.may_end(text):
                    return None
            elif (piece := self._piece(token)) and grammar.is_prefix(text + piece):
                return token
        return None


def load_qwen(folder: Path) -> QwenPlanner:
    """The planner from a folder in the official layout: config.json, tokenizer files, and one or several safetensors.

    Raises:
        ValueError: the folder is not a Qwen3, or a file is missing or damaged.
    """
    from transformers import AutoTokenizer, Qwen3ForCausalLM

    if not is_qwen(folder):
        raise ValueError(
            f"{folder} is not a Qwen3: its config.json must contain model_type 'qwen3'. Copy a complete Qwen3 folder."
        )
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"{folder} has no .safetensors file; pickles are not read. Download the safetensors version.")
    model = load_part(Qwen3ForCausalLM, folder, use_safetensors=True, dtype="auto")
    tokenizer = load_part(AutoTokenizer, folder)
    return QwenPlanner(model, tokenizer, folder)


def is_qwen(folder: Path) -> bool:
    """Whether ``folder`` contains a Qwen3 language model."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type") == "qwen3"
    except (OSError, ValueError, AttributeError):
        return False
