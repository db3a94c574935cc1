"""Captions whose events have times: read beside a media file, cut into segments, and stored with encoded clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..core.timed_events import EXAMPLE, MAX_EVENTS, STREAMS, TimedEvent, TimedEvents, cut_events
from ..guidance.timed import joined
from ..media.segments import Segment
from ..sync.beats import rhythm

EVENTS, ONSET = "events", "onset"  # entries beside 'caption' in NAME.json, and columns of a table
AUDIBLE, REACH = 0.01, 0.1  # least peak (-40 dB) within that many seconds after an onset


@dataclass(frozen=True)
class TimedCaption:
    """A caption, its events in seconds of the media file, and the text of an event at each onset of the sound (empty: none).

    Where no event is, the caption alone holds; an event's text follows the caption, as *Duet Timed Prompt* composes them.
    """

    caption: str
    events: TimedEvents = field(default_factory=TimedEvents)
    onset: str = ""

    @classmethod
    def read(cls, caption: str, entries: Mapping[str, Any]) -> TimedCaption:
        """From the entries 'events' (the lines of *Duet Timed Prompt*, one text or a list) and 'onset' (a text).

        Raises:
            ValueError: another type, or a line that is not an event.
        """
        events, onset = entries.get(EVENTS) or "", entries.get(ONSET) or ""
        lines = events if isinstance(events, list) else [events]
        for name, value in ((EVENTS, lines), (ONSET, [onset])):
            if not all(isinstance(text, str) for text in value):
                raise ValueError(
                    f"its entry '{name}' is {entries[name]!r:.80}; it must be a text or, for '{EVENTS}', a list of texts such as {EXAMPLE}"
                )
        return cls(caption, TimedEvents.read("\n".join(lines)), onset.strip())

    @property
    def timed(self) -> bool:
        """Whether the caption says when something happens."""
        return bool(self.events.events or self.onset)

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts to encode, each once."""
        happening = [event.text for event in self.events.events] + [self.onset] * bool(self.onset)
        return tuple(dict.fromkeys([self.caption, *(joined(self.caption, text) for text in happening)]))

    def within(self, segment: Segment, sample_rate: int) -> list[TimedEvent]:
        """The events of a segment in seconds from its start, with the texts to encode."""
        seconds = segment.waveform.shape[1] / sample_rate
        # An event for which one time is given happens at that time: not in a segment that only holds the range around it.
        stated = [e for e in self.events.events if e.onset is None or 0 <= e.onset - segment.start < seconds]
        heard = _onsets(segment.waveform, sample_rate) if self.onset else []
        found = [
            *cut_events(stated, segment.start, segment.start + seconds),
            *(TimedEvent.at(time, self.onset) for time in heard if time < seconds),
        ]
        return [replace(event, text=joined(self.caption, event.text)) for event in found]


def _onsets(waveform: Float[Tensor, "channels s"], sample_rate: int) -> list[float]:
    """Onsets in seconds after which the sound reaches ``AUDIBLE``: background noise has onsets too."""
    found, peak = rhythm(waveform, sample_rate=sample_rate).onsets, waveform.abs().amax(0)
    reach = round(REACH * sample_rate)
    return [t for t in found[:MAX_EVENTS] if peak[round(t * sample_rate) :][:reach].max() >= AUDIBLE]


def stored(events: Sequence[TimedEvent]) -> list[list[Any]]:
    """Events as they stand in the header of a shard: start, end, text, stream, strength."""
    words = {streams: word for word, streams in STREAMS.items()}
    return [[e.start, e.end, e.text, words[e.streams], e.strength] for e in events]


def restored(rows: Sequence[Sequence[Any]]) -> tuple[TimedEvent, ...]:
    """The events that ``stored`` wrote.

    Raises:
        ValueError: a row is not such an event.
    """
    try:
        return tuple(
            TimedEvent(float(a), float(b), text, STREAMS[stream], float(strength))
            for a, b, text, stream, strength in rows
        )
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"its timed events cannot be read ({error!r})") from error
