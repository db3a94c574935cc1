"""Timed text: which text each latent of a stream reads, as the logarithm of the share of the latent that an event's window covers.

Text attention sees the tokens of several texts side by side: those of the events, and a *rest* text that describes the clip without
them. The log-share of its text is added to the logit of each token. A text with share 0 is hidden, and a text that holds for the whole
clip leaves attention exactly as if it were alone. (The idea of restricting texts to times is Prompt Relay's, arXiv 2604.10030, which
uses whole latents, contiguous segments and one text for both streams; shares, the rest text and windows for each stream are ours.)

An event that is asked for in one stream alone must not reach the other one through cross-modal attention: around such an event the
other stream does not read across (ours).

Letters: n latents of a stream, g texts, m tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..core.streams import Streams
from ..core.timed_events import TimedEvent, TimedEvents, cut_events

HIDDEN = (
    -1e4
)  # log-share of a text that is not read; finite, because attention kernels that work in blocks fail on rows of -inf
LEAST_SHARE = 1e-6
Edges = Float[Tensor, " n_plus_1"]  # in float64, so that a window over a whole latent covers exactly all of it


def latent_edges(count: int, *, each: Iterable[int], rate: float, leading: Sequence[int] = ()) -> Edges:
    """Boundaries in seconds of ``count`` latents that cover the units ``leading`` and then those of ``each``, repeated, at ``rate`` units
    per second: frames, samples or mel frames."""
    units = torch.tensor([0, *islice(chain(leading, cycle(each)), count)], dtype=torch.float64)
    return units.cumsum(0) / rate


def coverage(edges: Edges, start: float, end: float, *, soft: float = 0.0) -> Float[Tensor, " n"]:
    """The share of each latent that the window from ``start`` to ``end`` covers, 0 to 1; of a window shorter than the latent, the share
    of the window that lies in the latent. With ``soft`` > 0 both edges of the window are ramps of that many seconds."""

    def area(t: Tensor, edge: float) -> Tensor:
        """Integral up to ``t`` of a ramp from 0 to 1 centred at ``edge``."""
        u = t - edge + soft / 2
        return u.clamp_min(0) if soft == 0 else u.clamp(0, soft).square() / (2 * soft) + (u - soft).clamp_min(0)

    inside = area(edges, start) - area(edges, end)
    spans = edges.diff()
    return (inside.diff() / spans.clamp(max=end - start)).clamp(0, 1)


@dataclass(frozen=True)
class StreamWindows:
    """The texts that one stream reads, and their log-shares at each latent, [n, g]; the last row is for tokens outside the clip's time
    (guides and references), which read the rest text. ``crosses``: whether each latent reads the other stream."""

    texts: tuple[str, ...]
    log_shares: Float[Tensor, "n_plus_1 g"]
    crosses: Bool[Tensor, " n"]

    def of_tokens(self, owners: Int[Tensor, " m"]) -> Float[Tensor, "n_plus_1 m"]:
        """Log-shares of tokens; ``owners`` holds the index of each token's text, -1 for a token that is never read."""
        return self.log_shares[:, owners].masked_fill(owners < 0, HIDDEN)


def crossing(events: Iterable[TimedEvent], stream: str, edges: Edges, *, margin: float) -> Bool[Tensor, " n"]:
    """Whether each latent of ``stream`` reads the other stream: not within ``margin`` seconds of an event that is asked for in the other
    stream alone, unless it has an event of its own there."""
    closed, own = torch.zeros(2, len(edges) - 1, dtype=torch.bool).unbind()
    for event in events:
        if stream in event.streams:
            own |= (edges[1:] > event.start) & (edges[:-1] < event.end)
        else:
            closed |= (edges[1:] > event.start - margin) & (edges[:-1] < event.end + margin)
    return ~closed | own


def stream_windows(
    events: Sequence[tuple[str, TimedEvent]],
    rest: str,
    edges: Edges,
    *,
    soft: float = 0.0,
    strength: float = 1.0,
    crosses: Bool[Tensor, " n"],
) -> StreamWindows:
    """Windows of one stream for ``events`` with their texts; events with the same text share its tokens. ``crosses`` becomes part of them.

    An event has the weight strength * coverage, and the rest text the product of (1 - weight) over all texts. That is the uncovered share
    for one text and for texts that overlap in time; two texts that share a latent without overlapping leave slightly too much.
    """
    weights: dict[str, Tensor] = {}
    for text, event in events:
        weight = strength * event.strength * coverage(edges, event.start, event.end, soft=soft)
        weights[text] = torch.maximum(weights.get(text, weight), weight)
    uncovered = torch.ones(len(edges) - 1, dtype=edges.dtype)
    for weight in weights.values():
        uncovered = uncovered * (1 - weight)
    weights[rest] = torch.maximum(uncovered, weights.pop(rest, uncovered))  # last
    read = {text: weight for text, weight in weights.items() if weight.max() > LEAST_SHARE}
    outside = torch.tensor([float(text == rest or rest not in read) for text in read], dtype=edges.dtype)
    shares = torch.cat([torch.stack(list(read.values()), dim=1), outside[None]])
    shares = shares.where(shares < 1 - LEAST_SHARE, 1.0)
    return StreamWindows(tuple(read), shares.log().where(shares > LEAST_SHARE, HIDDEN).float(), crosses)


@dataclass(frozen=True)
class TimedText:
    """The events of each stream with the texts that are encoded for them, and the rest texts."""

    events: Streams[tuple[tuple[str, TimedEvent], ...]]
    rest: Streams[str]
    soft: float = 0.0
    strength: float = 1.0

    @classmethod
    def of(
        cls, events: TimedEvents, rest: Streams[str], *, compose: Callable[[str, str], str], **more: float
    ) -> TimedText:
        """``compose(rest, text)`` returns the text that is encoded for an event; ``more``: soft, strength.

        Raises:
            ValueError: soft is negative, or strength outside 0 to 1.
        """
        if more.get("soft", 0.0) < 0:
            raise ValueError(f"The soft edge is {more['soft']:g} s; it must be 0 or more.")
        if not 0 <= more.get("strength", 1.0) <= 1:
            raise ValueError(f"The strength is {more['strength']:g}; it must be from 0 to 1.")
        by_stream = {
            name: tuple((compose(text, e.text), e) for e in events.events if name in e.streams)
            for name, text in vars(rest).items()
        }
        return cls(Streams(**by_stream), rest, **more)

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts to encode, each once, rest texts last."""
        rest = set(self.rest.present())
        of_events = [text for events in self.events.present() for text, _ in events if text not in rest]
        return tuple(dict.fromkeys([*of_events, *self.rest.present()]))

    def listed(self) -> str:
        """All texts in words, one per line: the rest text of each stream, then each event with its time and stream."""
        same = self.rest.video == self.rest.audio
        lines = [f"{'whole clip' if same else name}: {text}" for name, text in vars(self.rest).items()]
        events = {str(e).split(":")[0] + f": {text}": e for part in self.events.present() for text, e in part}
        return "\n".join(dict.fromkeys([*lines, *sorted(events, key=lambda line: events[line].start)]))

    def within(self, begin: float, end: float, *, period: float = 0.0) -> TimedText:
        """The timed text from ``begin`` to ``end`` seconds, in seconds from ``begin``; in a loop of ``period`` seconds it repeats."""

        def cut(events: tuple[tuple[str, TimedEvent], ...]) -> tuple[tuple[str, TimedEvent], ...]:
            return tuple((text, e) for text, event in events for e in cut_events((event,), begin, end, period=period))

        return replace(self, events=self.events.map(cut))

    def windows(self, edges: Streams[Edges]) -> Streams[StreamWindows]:
        """The windows of each stream whose latents' ``edges`` are given.

        Raises:
            ValueError: an event is later than the clip; the message names its line.
        """
        found = tuple(event for events in self.events.present() for _, event in events)
        for stream in edges.present()[:1]:
            TimedEvents(found).require_within(float(stream[-1]), cut=True)
        margin = max(float(e.diff().max()) for e in edges.present())
        read = found if self.strength else ()

        def windows(e: Edges, events: Sequence[tuple[str, TimedEvent]], rest: str, stream: str) -> StreamWindows:
            crosses = crossing(read, stream, e, margin=margin)
            return stream_windows(events, rest, e, soft=self.soft, strength=self.strength, crosses=crosses)

        return edges.map(windows, self.events, self.rest, Streams("video", "audio"))


def joined(rest: str, text: str) -> str:
    """The rest text followed by an event's text: within its window an event replaces the rest text and must repeat the scene."""
    rest, text = rest.strip().rstrip("."), text.strip()
    return f"{rest}. {text}" if rest else text
