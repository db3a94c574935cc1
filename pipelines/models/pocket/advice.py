"""Warnings about requests to the pocket model that are far from its training data."""

from __future__ import annotations

import math

from ...core.sizes import VIDEO_STRIDE, ClipShape

TRAINED = ClipShape()


def size_advice(video: tuple[int, ...], *, fps: int) -> str:
    """A warning if a video latent [c, t, h, w] does not have the size and duration of the training clips, or ""."""
    if tuple(video[1:]) == TRAINED.video_latent:
        return ""
    frames, rows, columns = (n * step for n, step in zip(video[1:], VIDEO_STRIDE, strict=True))
    times = math.prod(video[1:]) / math.prod(TRAINED.video_latent)
    cost = f" and at least {times:.0f} times the sampling time" if times > 1.5 else ""
    return (
        f"{columns} x {rows} pixels and {frames / fps:g} s: expect repeated or deformed objects{cost}. The pocket model was trained on "
        f"{TRAINED.width} x {TRAINED.height} pixels and {TRAINED.seconds:g} s."
    )
