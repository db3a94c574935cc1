"""The state that a node with a timeline sends to its editor in the browser (web/duet_timeline.js), as part of its ``ui``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import ui

from ...pipelines.core.timed_events import TimedEvents
from ...pipelines.core.timeline import Timeline
from ...pipelines.sync.beats import envelope, rhythm

BINS = 2000  # of the waveform


def editor_state(
    timeline: Timeline | TimedEvents | None,
    *,
    seconds: float,
    words: Sequence[str] = (),
    audio: dict[str, Any] | None = None,
    shown: str | None = None,
) -> dict[str, Any]:
    """The ``ui`` of a node with a timeline: the events as text, the length of the clip in seconds, the names that the model knows (none:
    any), the waveform, onsets and beats of an AUDIO, and the text ``shown`` on the node (default: the events)."""
    text = str(timeline or "")
    state: dict[str, Any] = {"timeline": text, "seconds": seconds, "words": list(words)}
    if audio is not None:
        waveform, rate = audio["waveform"][0].float().cpu(), audio["sample_rate"]
        found = rhythm(waveform, sample_rate=rate)
        peaks = envelope(waveform, bins=BINS)
        state["wave"] = {"peaks": peaks, "seconds": waveform.shape[1] / rate}
        state |= {"onsets": list(found.onsets), "beats": list(found.beats)}
    return {**ui.PreviewText(text if shown is None else shown).as_dict(), "duet_timeline": [state]}
