"""Inputs shared by several nodes. Each node passes its own tooltip."""

from __future__ import annotations

from comfy_api.latest import io


def seed(tooltip: str, *, default: int = 0) -> io.Int.Input:
    """A seed input whose value stays fixed until the user changes it."""
    return io.Int.Input(
        "seed",
        default=default,
        min=0,
        max=2**63 - 1,
        control_after_generate=io.ControlAfterGenerate.fixed,
        tooltip=tooltip,
    )


def temperature(tooltip: str) -> io.Float.Input:
    """A sampling temperature, 0 to 2."""
    return io.Float.Input("temperature", default=1.0, min=0.0, max=2.0, step=0.05, tooltip=tooltip)


def fps() -> io.Float.Input:
    """The frame rate of an IMAGE input."""
    return io.Float.Input(
        "fps",
        default=16.0,
        min=0.1,
        max=240.0,
        step=0.01,
        tooltip="Frame rate of the images, in frames per second. Connect the fps output of 'Duet Decode'.",
    )
