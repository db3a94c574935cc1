"""Figures of takes and comparisons of settings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from ..bench.takes import Take, Takes
from ..core.statistics import mean_interval
from ..core.streams import Clip
from .canvas import HEARD, SEEN, STRIP_FRAMES


def draw_takes(clips: Sequence[Clip], takes: Sequence[Take], *, title: str) -> Figure:
    """A contact sheet: for each take a row of frames and the waveform, with its seed and score."""
    figure = Figure(figsize=(10, 0.6 + 1.3 * len(clips)), layout="constrained")
    figure.suptitle(title, fontsize=9)
    rows = figure.subplots(len(clips), 1, squeeze=False)[:, 0]
    for axes, clip, take in zip(rows, clips, takes, strict=True):
        seconds = len(clip.frames) / clip.fps
        picks = torch.linspace(0, len(clip.frames) - 1, STRIP_FRAMES).round().long()
        strip = torch.cat(list(clip.frames[picks]), dim=1)
        axes.imshow(strip.clamp(0, 1).numpy(), extent=(0, seconds, 0.5, 1.5), aspect="auto")
        mono = clip.waveform.mean(0)
        peak = max(float(mono.abs().max()), 1e-6)
        axes.plot(
            torch.linspace(0, seconds, len(mono)).numpy(), 0.45 * (mono / peak).numpy(), color=HEARD, linewidth=0.4
        )
        axes.set(xlim=(0, seconds), ylim=(-0.5, 1.5), yticks=[], ylabel=f"seed {take.seed}\n{take.score:.2f}")
    rows[-1].set_xlabel("seconds")
    return figure


def draw_comparison(settings: Sequence[Takes]) -> Figure:
    """The score of each take by setting, and the mean of each setting with its 95 % interval."""
    figure = Figure(figsize=(10, 1.2 + 0.7 * len(settings)), layout="constrained")
    axes = figure.subplots()
    for row, each in enumerate(settings):
        scores = [take.score for take in each.takes]
        mean = mean_interval(scores)
        axes.plot(scores, [row + 0.18] * len(scores), linestyle="", marker="o", color=SEEN, alpha=0.5)
        axes.errorbar(
            [mean.mean],
            [row - 0.12],
            xerr=[[mean.mean - mean.low], [mean.high - mean.mean]],
            fmt="D",
            color=HEARD,
            capsize=4,
        )
        axes.annotate(
            f"{mean.mean:.2f}",
            (mean.mean, row - 0.12),
            textcoords="offset points",
            xytext=(0, -14),
            ha="center",
            fontsize=8,
        )
    axes.set(
        yticks=range(len(settings)), yticklabels=[each.label for each in settings], xlim=(-0.02, 1.02), xlabel="score"
    )
    axes.set_ylim(len(settings) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    return figure
