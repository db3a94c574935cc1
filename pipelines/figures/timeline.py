"""The timeline figure: frames, waveform, spectrogram and the events of both streams on one time axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..core.streams import Clip
from ..core.timeline import Timeline
from ..models.pocket.audio_codec import log_mel
from ..sync.events import Events, match
from ..sync.measure import Measured
from .canvas import HEARD, SEEN, STRIP_FRAMES

WAVE_POINTS = 800  # of the waveform envelope


def _frames(axes: Axes, clip: Clip, seconds: float) -> None:
    picks = torch.linspace(0, len(clip.frames) - 1, STRIP_FRAMES).round().long()
    for slot, k in enumerate(picks.tolist()):
        left, right = (slot + 0.03) * seconds / STRIP_FRAMES, (slot + 0.97) * seconds / STRIP_FRAMES
        axes.imshow(clip.frames[k].numpy(), extent=(left, right, 0, 1), aspect="auto", interpolation="bicubic")
        axes.text((left + right) / 2, 1.05, f"{(k + 0.5) / clip.fps:.2f} s", ha="center", fontsize=7)
    axes.set(xlim=(0, seconds), ylim=(0, 1), yticks=[], ylabel="frames")
    axes.tick_params(axis="x", length=0)


def _events(axes: Axes, heard: Events, seen: Events) -> None:
    kinds = sorted(heard.keys() | seen.keys())
    for row, kind in enumerate(kinds):
        a, v = heard.get(kind, ()), seen.get(kind, ())
        for heard_at, seen_at in match(a, v):
            axes.plot((seen_at, heard_at), (row + 0.2, row - 0.2), color="#888", linewidth=1)
        axes.plot(v, [row + 0.2] * len(v), linestyle="", marker="v", color=SEEN, markersize=9)
        axes.plot(a, [row - 0.2] * len(a), linestyle="", marker="^", color=HEARD, markersize=9)
    axes.set(ylim=(-0.6, max(0, len(kinds) - 1) + 0.6), yticks=range(len(kinds)), yticklabels=kinds, xlabel="seconds")
    axes.grid(axis="x", alpha=0.3)
    if not kinds:
        axes.text(0.5, 0.5, "no events detected", transform=axes.transAxes, ha="center", va="center")


def _planned(axes: Axes, timeline: Timeline, kinds: Sequence[str]) -> None:
    for event in timeline.events:
        if event.what in kinds:
            axes.plot([event.when], [kinds.index(event.what)], linestyle="", marker="|", color="#2a9d4a", markersize=26)


def _offsets(axes: Axes, measured: Measured) -> None:
    found = [(t, 1000 * a.offset) for t, a in measured.seconds if a.offset is not None]
    axes.plot([t for t, _ in found], [o for _, o in found], linestyle="", marker="o", color=HEARD)
    axes.axhline(0, color="#333", linewidth=0.8)
    axes.set(ylim=(-650, 650), xlabel="seconds", ylabel="audio delay, ms")
    if not found:
        reason = measured.agreement.reason
        text = f"no evidence: {reason}" if reason else "no evidence in any window"
        axes.text(0.5, 0.6, text, transform=axes.transAxes, ha="center", va="center")


def waveform_envelope(clip: Clip) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Times in seconds, and the highest level of the waveform around them."""
    mono = clip.waveform.mean(0)
    step = max(1, len(mono) // WAVE_POINTS)
    peaks = mono[: len(mono) // step * step].view(-1, step).abs().amax(1)
    return torch.linspace(0, len(mono) / clip.sample_rate, len(peaks)), peaks


def draw_timeline(
    clip: Clip,
    heard: Events,
    seen: Events,
    *,
    title: str,
    score: str,
    plan: Timeline | None = None,
    measured: Measured | None = None,
) -> Figure:
    """A figure of the frames, the waveform, the log-mel spectrogram (mean of the channels) and the detected events, with the events of
    ``plan`` marked. With ``measured`` the audio delay over time replaces the events."""
    seconds = len(clip.frames) / clip.fps
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    strip, wave, spectrogram, events = figure.subplots(4, 1, sharex=True, height_ratios=(1.3, 0.5, 1.1, 1))
    figure.suptitle(f"{title}\n{score}", fontsize=9)
    _frames(strip, clip, seconds)
    times, peaks = waveform_envelope(clip)
    wave.fill_between(times.numpy(), -peaks.numpy(), peaks.numpy(), color=HEARD, linewidth=0)
    wave.set(yticks=[], ylabel="level")
    mel = log_mel(clip.waveform[None], sample_rate=clip.sample_rate)[0].mean(0)
    spectrogram.imshow(mel.numpy(), origin="lower", aspect="auto", extent=(0, seconds, 0, len(mel)), cmap="magma")
    spectrogram.set(yticks=[], ylabel="mel bands")
    if measured is not None:
        _offsets(events, measured)
    else:
        _events(events, heard, seen)
        handles = [events.plot([], [], linestyle="", marker=m, color=c)[0] for m, c in (("v", SEEN), ("^", HEARD))]
        events.legend(handles, ("seen", "heard"), loc="upper right", fontsize=7, ncols=2)
    if plan is not None:
        _planned(events, plan, sorted(heard.keys() | seen.keys()))
    events.set_xlim(0, seconds)
    return figure
