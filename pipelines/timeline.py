"""The timeline picture: frames, spectrogram and the events of both streams on one axis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .files import replaced
from .media import upscaled
from .metrics.events import Events, f1, match
from .metrics.reading import Probes, read
from .metrics.sync import offset
from .models.pocket.codec import log_mel
from .models.pocket.network import POCKET
from .streams import Clip

SHOWN = 8  # frames in the strip
SEEN, HEARD = "#1f6fd6", "#d6401f"


def _frames(axes: Axes, clip: Clip, seconds: float) -> None:
    picks = torch.linspace(0, len(clip.frames) - 1, SHOWN).round().long()
    for slot, k in enumerate(picks.tolist()):
        left, right = (slot + 0.03) * seconds / SHOWN, (slot + 0.97) * seconds / SHOWN
        axes.imshow(upscaled(clip.frames[k : k + 1])[0].numpy(), extent=(left, right, 0, 1), aspect="auto")
        axes.text((left + right) / 2, 1.05, f"{(k + 0.5) / clip.fps:.2f} s", ha="center", fontsize=7)
    axes.set(xlim=(0, seconds), ylim=(0, 1), yticks=[], ylabel="frames")
    axes.tick_params(axis="x", length=0)


def _events(axes: Axes, heard: Events, seen: Events) -> None:
    kinds = sorted(heard.keys() | seen.keys())
    for row, kind in enumerate(kinds):
        a, v = heard.get(kind, ()), seen.get(kind, ())
        for sound, sight in match(a, v):
            axes.plot((sight, sound), (row + 0.2, row - 0.2), color="#888", linewidth=1)
        axes.plot(v, [row + 0.2] * len(v), linestyle="", marker="v", color=SEEN, markersize=9)
        axes.plot(a, [row - 0.2] * len(a), linestyle="", marker="^", color=HEARD, markersize=9)
    axes.set(ylim=(-0.6, max(0, len(kinds) - 1) + 0.6), yticks=range(len(kinds)), yticklabels=kinds, xlabel="seconds")
    axes.grid(axis="x", alpha=0.3)
    if not kinds:
        axes.text(0.5, 0.5, "no events detected", transform=axes.transAxes, ha="center", va="center")


def reading_of(clip: Clip, probes: Probes | None = None) -> tuple[Events, Events, str]:
    """Events heard and seen in a clip of the pocket world, and their synchrony in words.

    Raises:
        ValueError: the clip has not the pocket world's rates, so that its probes cannot read it.
    """
    if (clip.fps, clip.sample_rate, len(clip.waveform)) != (POCKET.fps, POCKET.sample_rate, 2):
        raise ValueError(
            f"The clip has {clip.fps:g} fps, {clip.sample_rate} Hz and {len(clip.waveform)} channel(s); the pocket world's probes read "
            f"{POCKET.fps} fps, {POCKET.sample_rate} Hz and 2 channels. Choose no events for clips of other models."
        )
    (reading,) = read(probes or Probes.load(), [clip])
    heard, seen = reading.heard, reading.seen.events
    late = offset(heard, seen)
    told = "" if late is None else f", sound {abs(late) * 1000:.0f} ms {'late' if late >= 0 else 'early'}"
    return heard, seen, f"synchrony F1 {f1(heard, seen):.2f}{told}"


def draw_timeline(clip: Clip, heard: Events, seen: Events, *, title: str, score: str) -> Figure:
    """A figure with the frames, the log-mel spectrogram (mean of the channels) and the detected events."""
    seconds = len(clip.frames) / clip.fps
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    strip, spectrogram, events = figure.subplots(3, 1, sharex=True, height_ratios=(1.3, 1.3, 1))
    figure.suptitle(f"{title}\n{score}", fontsize=9)
    _frames(strip, clip, seconds)
    mel = log_mel(clip.waveform[None], sample_rate=clip.sample_rate)[0].mean(0)
    spectrogram.imshow(mel.numpy(), origin="lower", aspect="auto", extent=(0, seconds, 0, len(mel)), cmap="magma")
    spectrogram.set(yticks=[], ylabel="mel bands")
    _events(events, heard, seen)
    handles = [events.plot([], [], linestyle="", marker=m, color=c)[0] for m, c in (("v", SEEN), ("^", HEARD))]
    events.legend(handles, ("seen", "heard"), loc="upper right", fontsize=7, ncols=2)
    events.set_xlim(0, seconds)
    return figure


def write_png(path: Path, figure: Figure, *, metadata: dict[str, Any] | None = None) -> None:
    """Save a figure with each entry of ``metadata`` as JSON; the file appears whole or not at all."""
    with replaced(path) as temporary:
        text = {key: json.dumps(value) for key, value in (metadata or {}).items()}
        figure.savefig(temporary, dpi=120, format="png", metadata=text)
