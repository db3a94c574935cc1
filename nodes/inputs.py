"""Inputs that several nodes have, each defined once; the tooltip is the node's own."""

from __future__ import annotations

from comfy_api.latest import io


def seed(tooltip: str, *, default: int = 0) -> io.Int.Input:
    """A seed that stays as it is until someone changes it."""
    return io.Int.Input(
        "seed",
        default=default,
        min=0,
        max=2**63 - 1,
        control_after_generate=io.ControlAfterGenerate.fixed,
        tooltip=tooltip,
    )


def temperature(tooltip: str) -> io.Float.Input:
    """How freely something is drawn."""
    return io.Float.Input("temperature", default=1.0, min=0.0, max=2.0, step=0.05, tooltip=tooltip)


def fps() -> io.Float.Input:
    """The rate of given pictures."""
    return io.Float.Input(
        "fps", default=16.0, min=0.1, max=240.0, step=0.01, tooltip="Frames per second of the pictures."
    )
