"""Plan reports of clips: detected by the probes in clips of the pocket model, by onsets of audio and motion in others."""

from __future__ import annotations

from ..core.streams import Clip
from ..core.timed_events import TimedEvents
from ..models.pocket.timed import named_kinds
from ..sync.avalign import peaks
from ..sync.events import Events
from ..sync.measure import signals_of
from ..sync.onsets import CELLS, video_onsets
from ..sync.plan_report import ANY, PlanReport, plan_report
from ..world.scene import SOUNDING
from .readings import Probes, as_rendered, read, unlike_the_world

WORLD, ONSETS = "the probes of the pocket world", "onsets of audio and motion, which do not tell objects apart"


def report_of(
    clip: Clip, events: TimedEvents, *, world: bool | None = None, probes: Probes | None = None
) -> PlanReport:
    """The report of ``clip``. ``world``: whether the probes of the pocket world detect the events; None: if its frames look like it."""
    world = not unlike_the_world(clip) if world is None else world
    found = _by_kind(clip, probes) if world else onsets_of(clip)
    kinds = [_kind(event.text) if world else ANY for event in events.events]
    seconds = len(clip.frames) / clip.fps
    return plan_report(events.events, kinds, found, seconds=seconds, instrument=WORLD if world else ONSETS)


def _kind(text: str) -> str:
    """The sounding kind that a text names; ``ANY`` if it names none or several."""
    kinds = named_kinds(text) & set(SOUNDING)
    return kinds.pop() if len(kinds) == 1 else ANY


def _by_kind(clip: Clip, probes: Probes | None) -> dict[str, Events]:
    (reading,) = read(probes or Probes.load(), [as_rendered(clip)])
    return {"video": reading.seen.events, "audio": reading.heard}


def onsets_of(clip: Clip) -> dict[str, Events]:
    """Onset times of the motion and of the audio of any clip."""
    signals = signals_of(clip)
    heard = () if signals.sound is None else peaks(signals.sound.onsets)
    seen: tuple[float, ...] = ()
    if signals.changes is not None and signals.times is not None:
        onsets = video_onsets(signals.changes, signals.times, seconds=signals.video_seconds)
        seen = tuple(peaks(onsets[:, : CELLS**2].sum(1)))
    return {"video": {ANY: seen}, "audio": {ANY: tuple(heard)}}
