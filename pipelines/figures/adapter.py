"""A figure of an adapter's mask."""

from __future__ import annotations

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ..core.conditions import AdapterCondition
from .canvas import HEARD, SEEN, STRIP_FRAMES


def draw_mask(
    mask: Float[Tensor, "f height width"],
    condition: AdapterCondition,
    frames: Float[Tensor, "f2 h2 w2 3"] | None,
    *,
    threshold: float,
    seconds: float,
    title: str,
) -> Figure:
    """An adapter's mask over the frames and over time, and a histogram of its open and closed channels."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = figure.add_gridspec(2, STRIP_FRAMES, height_ratios=(1.2, 1))
    for i in range(STRIP_FRAMES):
        k, axes = round(i * (len(mask) - 1) / (STRIP_FRAMES - 1)), figure.add_subplot(grid[0, i])
        if frames is not None:
            axes.imshow(frames[round(i * (len(frames) - 1) / (STRIP_FRAMES - 1))].numpy(), extent=(0, 1, 0, 1))
        alpha = 0.55 if frames is not None else 1.0
        axes.imshow(mask[k].numpy(), extent=(0, 1, 0, 1), vmin=0, vmax=1, cmap="viridis", alpha=alpha)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{(k + 0.5) * seconds / len(mask):.2f} s", fontsize=7)
    curve, histogram = figure.add_subplot(grid[1, : STRIP_FRAMES - 3]), figure.add_subplot(grid[1, STRIP_FRAMES - 3 :])
    clock = (torch.arange(len(mask)) + 0.5) * seconds / len(mask)
    curve.step(clock.numpy(), mask.flatten(1).amax(1).numpy(), where="mid", color=SEEN, label="maximum over the frame")
    curve.step(clock.numpy(), mask.flatten(1).mean(1).numpy(), where="mid", color=HEARD, label="mean")
    curve.set(xlim=(0, seconds), ylim=(0, 1.02), xlabel="seconds", ylabel="mask")
    curve.legend(fontsize=7, loc="upper right")
    histogram.hist(condition.mask[0].flatten().numpy(), bins=20, range=(0, 1), color="#777")
    histogram.axvline(threshold, color=HEARD, linewidth=1)
    share = float(condition.support[0].mean())
    histogram.set(xlabel=f"mask: {share:.0%} open, {1 - share:.0%} closed", yscale="log", ylabel="channels")
    return figure
