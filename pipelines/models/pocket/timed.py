"""Timed text for the pocket model, which reads only captions of the world.

An event names a subject of the prompt, e.g. 'the bell rings'. Its text is the prompt's caption in which only the named subjects act; the
rest text is the caption in which nothing acts (no verb and no tempo).

Letters: b batch, n latent frames of a stream, m text tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...core.sizes import MEL_HOP, MEL_STRIDE, VIDEO_STRIDE
from ...core.streams import Streams
from ...core.timed_events import TimedEvents
from ...guidance.timed import HIDDEN, Edges, StreamWindows, TimedText, latent_edges
from ...world.caption import VERBS
from ...world.scene import SILENT, TEMPI
from ..backbone import BackboneConfig
from .parse import items_of
from .reading import read_prompt
from .text import TextEncoder

KIND_OF = {verb: kind for kind, verb in VERBS.items()}


def pocket_edges(config: BackboneConfig, counts: Streams[int]) -> Streams[Edges]:
    """Boundaries of the latents of both streams, in seconds."""
    video = (
        None if counts.video is None else latent_edges(counts.video, each=(VIDEO_STRIDE[0],), rate=float(config.fps))
    )
    if counts.audio is None:
        return Streams(video)
    return Streams(video, latent_edges(counts.audio, each=(MEL_HOP * MEL_STRIDE,), rate=float(config.sample_rate)))


def acting(caption: str, kinds: set[str]) -> str:
    """A caption of the world without the verbs and tempi of all sounding subjects except ``kinds``."""
    out, dropped = [], False
    for word in caption.split():
        if word in KIND_OF:
            dropped = KIND_OF[word] not in kinds | set(SILENT)
        if not (dropped and (word in KIND_OF or word in TEMPI)):
            out.append(word)
    return " ".join(out)


def named_kinds(text: str) -> set[str]:
    """The kinds of subjects that ``text`` names, by noun or verb."""
    return {item.value for item in items_of(text) if item.table in ("kind", "verb")}


def event_text(caption: str, text: str) -> str:
    """The caption in which only the subjects that the event ``text`` names act.

    Raises:
        ValueError: it names no subject of the caption.
    """
    there = {word for word in caption.split() if word in VERBS}
    kinds = named_kinds(text) & there
    if not kinds:
        raise ValueError(
            f"The timed event {text!r} names none of the subjects of the prompt ({', '.join(sorted(there))}). Name one of them, e.g. "
            f"'the {min(there, default='ball')}'; the pocket model reads the prompt as: {caption}"
        )
    return acting(caption, kinds)


def timed_text(prompts: Streams[str], events: TimedEvents, *, soft: float = 0.0, strength: float = 1.0) -> TimedText:
    """The timed text of one clip.

    Raises:
        ValueError: a prompt cannot be read, or an event names no subject of it.
    """
    captions = prompts.map(lambda prompt: read_prompt(prompt).caption)
    timed = TimedText.of(events, captions, compose=event_text, soft=soft, strength=strength)
    return replace(timed, rest=captions.map(lambda caption: acting(caption, set())))


@dataclass(frozen=True)
class TimedInputs:
    """What a network reads of timed text: the states of all texts [b, m, width], their log-shares [b, n, m], and whether each latent frame
    reads the other stream [b, n] (``None``: all do), for each stream."""

    states: Streams[Tensor]
    shares: Streams[Tensor] = field(default_factory=Streams[Tensor])
    crosses: Streams[Tensor] = field(default_factory=Streams[Tensor])


def timed_inputs(
    encoder: TextEncoder,
    prompts: Streams[list[str]],
    events: Sequence[TimedEvents],
    edges: Streams[Edges],
    *,
    soft: float = 0.0,
) -> TimedInputs:
    """The inputs for clips with ``events``, one each.

    Raises:
        ValueError: a prompt cannot be read, an event names no subject of it, or is later than the clip.
    """
    pairs = zip(*prompts.both(), strict=True)
    windows = [timed_text(Streams(*p), own, soft=soft).windows(edges) for p, own in zip(pairs, events, strict=True)]
    return read_windows(windows, lambda texts: encoder.embed(texts, as_written=True))


def read_windows(windows: Sequence[Streams[StreamWindows]], embed: Callable[[list[str]], Tensor]) -> TimedInputs:
    """The inputs for the clips whose ``windows`` are given; ``embed`` returns the states of texts, [g, words, width]. Clips with fewer
    texts are padded."""
    rows = [row.map(lambda w: _tokens(w, embed)) for row in windows]
    columns = Streams(*(list(column) for column in zip(*(row.both() for row in rows), strict=True)))
    states = columns.map(lambda found: pad_sequence([z for z, _ in found], batch_first=True))
    shares = columns.map(lambda found: pad_sequence([s for _, s in found], batch_first=True, padding_value=HIDDEN))
    crosses = [torch.stack([w.crosses for w in column]) for column in zip(*(w.both() for w in windows), strict=True)]
    return TimedInputs(
        states, shares.map(lambda z: z.transpose(1, 2)), Streams(*(None if read.all() else read for read in crosses))
    )


def _tokens(windows: StreamWindows, embed: Callable[[list[str]], Tensor]) -> tuple[Tensor, Tensor]:
    """Text states [m, width] of all texts of a stream, and their log-shares [m, n]."""
    states = embed(list(windows.texts))
    return states.flatten(0, 1), windows.log_shares[:-1].repeat_interleave(states.shape[1], dim=1).T
