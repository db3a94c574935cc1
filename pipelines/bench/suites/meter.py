"""Accuracy of the sync meter on clips with known shifts, jitter, missing sounds and audio of another clip, compared with AV-Align and
the pocket probes.

The strata are sources of clips: the world, a second renderer, and weather, in which no audio event coincides with a visible one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

import torch
from matplotlib.figure import Figure

from ...core.sizes import ClipShape
from ...core.statistics import mean_interval
from ...core.streams import Clip
from ...media.sound import shift_sound
from ...sync.events import best_offset, f1
from ...sync.measure import measure as measured
from ...sync.measure import signals_of
from ...world import Scene, irregular, make_scene
from ...world.second_renderer import ClipEvents, random_events, render_events, render_weather
from ..readings import Probes, read, render
from ..runner import Rows, Run
from ..scores import Scores
from ..tables import Table

SHAPE = ClipShape(seconds=8.0)
SHARE = 0.048  # clips of each source, as a share of the requested number of prompts
SHIFTS = (0.0, 0.0312, 0.0625, 0.125, 0.25, 0.5)  # seconds, in both directions
JITTERS = (0.04, 0.08, 0.16)  # seconds, standard deviation of the shift of each sound
DROPS = (0.25, 0.5)  # share of the sounds that are removed
WORLD, SECOND_RENDERER, WEATHER = "world", "another renderer", "weather"
STRATA = ("single", "sequential", "simultaneous")


@dataclass(frozen=True)
class Source:
    """A scene, as its event times and a function that renders it with its sounds at other times."""

    times: tuple[float, ...]
    render: Callable[
        [Callable[[float], float | None]], Clip
    ]  # argument: time of an event -> time of its sound, None: no sound


def _world(seed: int, i: int) -> Source:
    scene = irregular(make_scene(seed, i, stratum=STRATA[i % len(STRATA)], seconds=SHAPE.seconds))

    def render_with(moved: Callable[[float], float | None]) -> Clip:
        frames, _ = render([scene], SHAPE)
        _, sound = render([_with_sound_times(scene, moved)], SHAPE)
        return Clip(frames[0].permute(0, 2, 3, 1), float(SHAPE.fps), sound[0], SHAPE.sample_rate)

    return Source(tuple(t for s in scene.subjects for t in s.times), render_with)


def _with_sound_times(scene: Scene, moved: Callable[[float], float | None]) -> Scene:
    def times(own: Iterable[float]) -> tuple[float, ...]:
        return tuple(sorted(t for t in map(moved, own) if t is not None))

    return replace(scene, subjects=tuple(replace(s, times=times(s.times)) for s in scene.subjects))


def _second_renderer(seed: int, i: int) -> Source:
    events = random_events(1000 * seed + 2 * i, seconds=SHAPE.seconds)

    def render_with(moved: Callable[[float], float | None]) -> Clip:
        sounds = tuple(t for t in map(moved, events.times) if t is not None)
        return render_events(ClipEvents(events.seed, events.times, sounds), SHAPE)

    return Source(events.times, render_with)


def _score(clip: Clip, late: float | None, probes: Probes | None) -> Scores:
    """Measurements of one clip whose audio is late by ``late`` seconds (``None``: not defined)."""
    found = measured(signals_of(clip))
    offset = found.agreement.offset
    out = {"evidence": float(offset is not None), "strength": found.agreement.strength}
    out |= {"av_align_code": found.av_align_code or 0.0, "av_align_paper": found.av_align_paper or 0.0}
    if late is not None:
        out["within_a_frame"] = float(offset is not None and abs(offset - late) <= 1 / SHAPE.fps)
        out |= {} if offset is None else {"error_ms": 1000 * abs(offset - late)}
    if probes is not None:
        (reading,) = read(probes, [clip])
        out["probe_f1"] = f1(reading.heard, reading.seen.events)
        probe_offset = best_offset(reading.heard, reading.seen.events)
        if probe_offset is not None and late is not None:
            out["probe_error_ms"] = 1000 * abs(probe_offset - late)
    return out


def _late(clip: Clip, seconds: float) -> Clip:
    return replace(clip, waveform=shift_sound(clip.waveform, samples=-round(seconds * clip.sample_rate)))


def measure(run: Run) -> Table:
    """Every change, on the same clips."""
    torch.set_num_threads(run.executor.workers)
    count, probes = max(4, round(SHARE * run.prompts)), Probes.load()
    found: dict[str, dict[str, list[Scores]]] = {}

    def note(row: str, source: str, scores: Scores) -> None:
        found.setdefault(row, {}).setdefault(source, []).append(scores)

    for source, scene_of, used in ((WORLD, _world, probes), (SECOND_RENDERER, _second_renderer, None)):
        previous: Clip | None = None
        for i in range(count):
            scene = scene_of(run.seed, i)
            clip = scene.render(lambda t: t)
            for seconds in sorted({way * s for s in SHIFTS for way in (1, -1)}):
                note(f"{1000 * seconds:+.0f} ms", source, _score(_late(clip, seconds), seconds, used))
            for name, moved in _changes(Random(f"{run.seed}/{i}")):
                note(name, source, _score(scene.render(moved), None, used))
            if previous is not None:
                note("sound of another clip", source, _score(replace(clip, waveform=previous.waveform), None, used))
            previous = clip
            run.on_chunk(1)
    for i in range(count):
        note("+0 ms", WEATHER, _score(render_weather(1000 * run.seed + i, SHAPE), None, None))
        run.on_chunk(1)
    rows: dict[str, Rows] = {
        row: {source: _mean_intervals(scores) for source, scores in sources.items()} for row, sources in found.items()
    }
    notes = {
        "clips": f"{count} of 8 s from each source; irregular events",
        "weather": "no audio event coincides with a visible one; 'evidence' is a false alarm",
    }
    return Table("meter", count, run.seed, rows, notes)


def _changes(rng: Random) -> list[tuple[str, Callable[[float], float | None]]]:
    """The changes of single sounds by name: individual shifts, and missing sounds."""

    def jittered(deviation: float, when: float) -> float:
        return min(max(when + rng.gauss(0, deviation), 0.05), SHAPE.seconds - 0.05)

    def dropped(share: float, when: float) -> float | None:
        return None if rng.random() < share else when

    out = [(f"jitter {1000 * d:.0f} ms", partial(jittered, d)) for d in JITTERS]
    return [*out, *((f"{share:.0%} missing", partial(dropped, share)) for share in DROPS)]


def _mean_intervals(scores: Sequence[Scores]) -> dict:
    names = dict.fromkeys(name for s in scores for name in s)
    return {name: mean_interval([s[name] for s in scores if name in s]) for name in names}


def draw(table: Table) -> Figure:
    """Share of clips measured within one frame, and AV-Align, against the imposed shift."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    shifts = {
        float(row.split()[0]): strata for row, strata in table.rows.items() if row.endswith("ms") and row[0] in "+-"
    }
    for source in (WORLD, SECOND_RENDERER):
        share = [strata[source]["within_a_frame"].mean for strata in shifts.values()]
        left.plot(list(shifts), share, marker="o", label=f"{source}: within a frame")
        align = [strata[source]["av_align_code"].mean for strata in shifts.values()]
        right.plot(list(shifts), align, marker="o", label=f"{source}: AV-Align (code)")
    for axes in (left, right):
        axes.set(xlabel="sound late by (ms)", ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.suptitle("The meter and AV-Align on known shifts")
    return figure
