"""The request that the options of a command describe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.documents import printable

if TYPE_CHECKING:
    from ..guidance.strategy import Strategy
    from ..models.pocket.generate import Request
    from ..models.pocket.load import PocketModel
    from ..models.pocket.text import WordTokenizer


def request_of(arguments: argparse.Namespace, prompts: list[str], *, piece: float | None = None) -> Request:
    """The request that the options describe, without conditions that require a model; of clips of ``piece`` seconds if the clip is made
    of pieces. The times of timed events are those of the whole clip."""
    from ..core.sizes import ClipShape
    from ..models.pocket.generate import Request

    request = Request(
        prompts,
        audio=None if arguments.audio_prompt is None else [arguments.audio_prompt] * len(prompts),
        negative=arguments.negative,
        seed=arguments.seed,
        steps=arguments.steps,
        sampler=arguments.sampler,
        strategy=_strategy(arguments),
        shape=ClipShape(seconds=arguments.seconds if piece is None else piece),
    )
    return _with_timed_events(arguments, request, request.shape.duration if piece is None else arguments.seconds)


def _with_timed_events(arguments: argparse.Namespace, request: Request, seconds: float) -> Request:
    """``request`` with the timed events of the options, checked against its prompts and the length of the clip."""
    if arguments.timed is None:
        return request
    from ..core.saved_plan import read_timed_events
    from ..core.streams import Streams
    from ..models.pocket.timed import timed_text

    events = read_timed_events(arguments.timed)
    events.require_within(seconds)
    for prompt, audio in dict.fromkeys(zip(request.prompts, request.audio or request.prompts, strict=True)):
        timed_text(Streams(prompt, audio), events, soft=arguments.timed_soft)
    return (
        replace(request, timed=[events] * len(request.prompts), soft=arguments.timed_soft) if events.events else request
    )


def for_model(request: Request, arguments: argparse.Namespace, model: PocketModel) -> Request:
    """``request`` with the guidance that ``model`` has: without a trained null a closed direction adds nothing, and the default is plain
    CFG."""
    return replace(request, strategy=_strategy(arguments, trained_null=model.network.trained_null))


def _strategy(arguments: argparse.Namespace, *, trained_null: bool = True) -> Strategy:
    """The guidance that the options describe."""
    from ..guidance.modifiers import Window
    from ..guidance.strategy import UCG, PerStreamCFG, default_strategy

    default = default_strategy(trained_null=trained_null)
    text = default.video if arguments.cfg is None else arguments.cfg
    form = arguments.form or (default.form if isinstance(default, UCG) else "cfg")
    context = arguments.context
    start, end = arguments.guide_from, arguments.guide_until
    if not 0 <= end < start <= 1:
        raise ValueError(
            f"--guide-from is {start:g} and --guide-until {end:g}; they must satisfy 1 >= from > until >= 0. To switch guidance off, "
            "use --form cfg --cfg 1."
        )
    strategy = PerStreamCFG(text, text) if form == "cfg" else UCG(form, text, text, context, context, not trained_null)
    return strategy if (start, end) == (1, 0) else Window(strategy, start, end)


def report_prompts(tokenizer: WordTokenizer, prompts: Sequence[str], negative: str = "") -> None:
    """Print what each prompt is read as, and the words that the model does not know.

    Raises:
        ValueError: a text cannot be encoded.
    """
    tokenizer.encode(negative, as_written=True)
    lines = [line for prompt in dict.fromkeys(prompts) for line in tokenizer.notices(prompt)]
    lines += [f"Unknown word, replaced by 'something': {word}" for word in tokenizer.unknown(negative)]
    for line in dict.fromkeys(lines):
        print(f"duet: {printable(line)}", file=sys.stderr)
