"""A figure of an adapter's mask."""

from __future__ import annotations

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ..core.conditions import AdapterCondition
from .canvas import HEARD, SEEN
from .prior import SHOWN


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
