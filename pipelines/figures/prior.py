"""Figures of a prior."""

from __future__ import annotations

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ..core.conditions import Prior
from ..core.timeline import PLACES


def draw_prior(prior: Prior, *, title: str) -> Figure:
    """Mean, standard deviation and draw of the prior tokens of the first text. Each panel has a row per token and a column per channel."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    figure.suptitle(title, fontsize=10)
    drawn = prior.all_tokens
    reach = max(prior.mean[0].abs().max().item(), drawn[0].abs().max().item(), 1e-6)
    columns = (
        ("mean", prior.mean[0], {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"}),
        ("standard deviation", prior.deviation[0], {"vmin": 0, "cmap": "magma"}),
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
    """Likelihood of an event by place in the frame and time, as predicted from a draw of the prior."""
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
