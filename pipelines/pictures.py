"""Figures of values that artists want to look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from .metrics.measure import Measured
from .metrics.sync import mean_interval
from .models.adapter.condition import AdapterCondition
from .models.javisdit.prior import Prior
from .plan import PLACES, Timeline
from .streams import Clip
from .sweep import Take, Takes
from .timeline import HEARD, SEEN

DPI = 100


def pixels(figure: Figure) -> Float[Tensor, "height width 3"]:
    """A figure as a picture in 0..1."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return drawn.view(height, width, 4)[..., :3].float() / 255


def draw_prior(prior: Prior, *, title: str) -> Figure:
    """Mean, spread and draw of the first text's prior tokens: a row for each token, a column for each channel."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    figure.suptitle(title, fontsize=10)
    drawn = prior.all_tokens
    reach = max(prior.mean[0].abs().max().item(), drawn[0].abs().max().item(), 1e-6)
    columns = (
        ("mean", prior.mean[0], {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"}),
        ("spread (deviation)", prior.deviation[0], {"vmin": 0, "cmap": "magma"}),
        (
            f"this draw: seed {prior.seed}, temperature {prior.temperature:g}",
            drawn[0],
            {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"},
        ),
    )
    kinds = (("spatial", slice(prior.spatial)), ("temporal", slice(prior.spatial, None)))
    axes = figure.subplots(len(kinds), len(columns), squeeze=False)
    for column, (name, values, style) in zip(axes.T, columns, strict=True):
        for place, (kind, part) in zip(column, kinds, strict=True):
            shown = place.imshow(values[part].float().numpy(), aspect="auto", interpolation="nearest", **style)
            place.set(xticks=[], yticks=[], ylabel=f"{len(values[part])} {kind} tokens")
            figure.colorbar(shown, ax=place)
        column[0].set_title(name, fontsize=9)
        column[-1].set_xlabel(f"{values.shape[1]} channels", fontsize=8)
    return figure


def draw_layout(layout: Float[Tensor, "places bins"], *, seconds: float, title: str) -> Figure:
    """How likely something happens where in the frame and when, as a prior's draw says."""
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots()
    extent = (0.0, seconds, len(PLACES) - 0.5, -0.5)
    shown = axes.imshow(
        layout.numpy(), aspect="auto", interpolation="nearest", extent=extent, vmin=0, vmax=1, cmap="magma"
    )
    axes.set(yticks=range(len(PLACES)), yticklabels=PLACES, xlabel="seconds")
    figure.colorbar(shown, ax=axes, label="likelihood of an event")
    return figure


def draw_plan(timeline: Timeline, *, seconds: float, title: str) -> Figure:
    """A timeline as two lanes: what is seen, by place, and what is heard."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    seen, heard = figure.subplots(2, 1, sharex=True)
    figure.suptitle(title, fontsize=10)
    for event in timeline.events:
        level = 2 - PLACES.index(event.where)
        for axes, shown, colour, marker in ((seen, event.seen, SEEN, "v"), (heard, event.heard, HEARD, "^")):
            if shown:
                axes.plot([event.when], [level], marker=marker, color=colour, markersize=10)
                axes.annotate(event.what, (event.when, level), textcoords="offset points", xytext=(7, -3), fontsize=8)
    for axes, name in ((seen, "seen"), (heard, "heard")):
        axes.set(ylim=(-0.6, 2.6), yticks=range(3), yticklabels=PLACES[::-1], ylabel=name, xlim=(0, seconds))
        axes.grid(alpha=0.3)
    heard.set_xlabel("seconds")
    return figure


SHOWN = 8  # frames of each take


def draw_takes(clips: Sequence[Clip], takes: Sequence[Take], *, title: str) -> Figure:
    """A contact sheet: a row of frames and the waveform of each take, with its seed and score."""
    figure = Figure(figsize=(10, 0.6 + 1.3 * len(clips)), layout="constrained")
    figure.suptitle(title, fontsize=9)
    rows = figure.subplots(len(clips), 1, squeeze=False)[:, 0]
    for axes, clip, take in zip(rows, clips, takes, strict=True):
        seconds = len(clip.frames) / clip.fps
        picks = torch.linspace(0, len(clip.frames) - 1, SHOWN).round().long()
        strip = torch.cat(list(clip.frames[picks]), dim=1)
        axes.imshow(strip.clamp(0, 1).numpy(), extent=(0, seconds, 0.5, 1.5), aspect="auto")
        sound = clip.waveform.mean(0)
        reach = max(float(sound.abs().max()), 1e-6)
        axes.plot(
            torch.linspace(0, seconds, len(sound)).numpy(), 0.45 * (sound / reach).numpy(), color=HEARD, linewidth=0.4
        )
        axes.set(xlim=(0, seconds), ylim=(-0.5, 1.5), yticks=[], ylabel=f"seed {take.seed}\n{take.score:.2f}")
    rows[-1].set_xlabel("seconds")
    return figure


def draw_mask(
    mask: Float[Tensor, "f height width"],
    given: AdapterCondition,
    frames: Float[Tensor, "f2 h2 w2 3"] | None,
    *,
    threshold: float,
    seconds: float,
    title: str,
) -> Figure:
    """How open an adapter's mask is: over the frames, in time, and how many of its channels are open or closed."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = figure.add_gridspec(2, SHOWN, height_ratios=(1.2, 1))
    for i in range(SHOWN):
        k, place = round(i * (len(mask) - 1) / (SHOWN - 1)), figure.add_subplot(grid[0, i])
        if frames is not None:
            place.imshow(frames[round(i * (len(frames) - 1) / (SHOWN - 1))].numpy(), extent=(0, 1, 0, 1))
        veil = 0.55 if frames is not None else 1.0
        place.imshow(mask[k].numpy(), extent=(0, 1, 0, 1), vmin=0, vmax=1, cmap="viridis", alpha=veil)
        place.set(xticks=[], yticks=[])
        place.set_title(f"{(k + 0.5) * seconds / len(mask):.2f} s", fontsize=7)
    time, histogram = figure.add_subplot(grid[1, : SHOWN - 3]), figure.add_subplot(grid[1, SHOWN - 3 :])
    clock = (torch.arange(len(mask)) + 0.5) * seconds / len(mask)
    time.step(clock.numpy(), mask.flatten(1).amax(1).numpy(), where="mid", color=SEEN, label="most open place")
    time.step(clock.numpy(), mask.flatten(1).mean(1).numpy(), where="mid", color=HEARD, label="mean")
    time.set(xlim=(0, seconds), ylim=(0, 1.02), xlabel="seconds", ylabel="open")
    time.legend(fontsize=7, loc="upper right")
    histogram.hist(given.mask[0].flatten().numpy(), bins=20, range=(0, 1), color="#777")
    histogram.axvline(threshold, color=HEARD, linewidth=1)
    share = float(given.support[0].mean())
    histogram.set(xlabel=f"mask: {share:.0%} open, {1 - share:.0%} closed", yscale="log", ylabel="channels")
    return figure


def draw_comparison(settings: Sequence[Takes]) -> Figure:
    """Every take's score by setting, and each setting's mean with its 95 % interval."""
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


def draw_curve(measured: Measured) -> Figure:
    """Offset second by second: a dot where there is evidence, the whole clip's as a line."""
    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(str(measured.agreement), fontsize=10)
    found = [(t, 1000 * a.offset, a.strength) for t, a in measured.seconds if a.offset is not None]
    nothing = [t for t, a in measured.seconds if a.offset is None]
    if found:
        t, offset, strength = zip(*found, strict=True)
        axes.scatter(t, offset, s=[30 + 120 * x for x in strength], color=HEARD, label="offset (size: strength)")
    axes.plot(nothing, [0] * len(nothing), linestyle="", marker="x", color="#999", label="no evidence")
    if measured.agreement.offset is not None:
        axes.axhline(1000 * measured.agreement.offset, color=HEARD, linewidth=1, alpha=0.6)
    axes.axhline(0, color="#333", linewidth=0.8)
    axes.set(xlabel="seconds", ylabel="sound late, ms", xlim=(0, max(measured.video_seconds, 0.1)), ylim=(-650, 650))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper right")
    return figure
