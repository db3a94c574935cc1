"""Captions whose events have times: read beside a media file, cut into segments, and stored with encoded clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.timed_events import MAX_EVENTS, STREAMS, TimedEvent, TimedEvents
from ..guidance.timed import joined
from ..media.segments import Segment
from ..sync.beats import rhythm

EVENTS, ONSET = "events", "onset"  # entries beside 'caption' in NAME.json, and columns of a table


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
        if not all(isinstance(text, str) for text in (*lines, onset)):
            raise ValueError(f"'{EVENTS}' must be a text or a list of texts, and '{ONSET}' a text")
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
        heard = rhythm(segment.waveform, sample_rate=sample_rate).onsets[:MAX_EVENTS] if self.onset else ()
        found = [
            *self.events.within(segment.start, segment.start + seconds).events,
            *(TimedEvent.at(time, self.onset) for time in heard if time < seconds),
        ]
        return [replace(event, text=joined(self.caption, event.text)) for event in found]


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
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"its timed events cannot be read ({error!r})") from error
