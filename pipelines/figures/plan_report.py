"""The picture of a plan report: the plan over the waveform and the motion of the clip."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..core.streams import Clip
from ..sync.measure import signals_of
from ..sync.onsets import CELLS
from ..sync.plan_report import HIT_SECONDS, PlanReport
from .canvas import HEARD, SEEN
from .timeline import waveform_envelope

ASKED = "#2a9d4a"
LABEL_CHARACTERS = 24  # of an event's text


def draw_plan_report(clip: Clip, report: PlanReport, *, title: str = "") -> Figure:
    """The motion and the waveform on one time axis. Bands are the times asked for, marks the times found."""
    seconds = len(clip.frames) / clip.fps
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    motion, wave = figure.subplots(2, 1, sharex=True)
    figure.suptitle("\n".join(filter(None, [title, str(report).splitlines()[0]])), fontsize=9)
    changes = signals_of(clip).changes
    trace = torch.zeros(len(clip.frames)) if changes is None else changes[:, 0, : CELLS**2].sum(1)
    trace = trace / trace.max().clamp_min(1e-9)
    motion.fill_between(((torch.arange(len(trace)) + 0.5) / clip.fps).numpy(), trace.numpy(), color=SEEN, alpha=0.6)
    times, peaks = waveform_envelope(clip)
    peaks = peaks / peaks.max().clamp_min(1e-9)
    wave.fill_between(times.numpy(), peaks.numpy(), color=HEARD, alpha=0.6)
    for axes, stream, word in ((motion, "video", "motion"), (wave, "audio", "level")):
        _answers(axes, report, stream)
        axes.set(xlim=(0, seconds), ylim=(0, 1.45), yticks=[], ylabel=word)
    wave.set_xlabel("seconds")
    return figure


def _answers(axes: Axes, report: PlanReport, stream: str) -> None:
    for answer in report.answers:
        if stream not in answer.event.streams:
            continue
        asked, found, off = answer.event.asked, answer.found(stream), answer.off(stream)
        axes.axvspan(asked - HIT_SECONDS, asked + HIT_SECONDS, color=ASKED, alpha=0.2, linewidth=0)
        axes.axvline(asked, color=ASKED, linewidth=1)
        text = answer.event.text
        label = text if len(text) <= LABEL_CHARACTERS else f"{text[: LABEL_CHARACTERS - 1]}\u2026"
        axes.text(
            asked, 1.42, f"{label}\n{'not found' if off is None else f'{1000 * off:+.0f} ms'}", fontsize=7, va="top"
        )
        if found is not None:
            axes.plot([found], [1.06], linestyle="", marker="v", color="#111", markersize=7)
