"""Scenes with known event times that FFmpeg renders: its test pictures, boxes that appear at given times, and audio from expressions."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np

from .meter_scenes import HEIGHT, MARGIN, RATE, WIDTH, Drawing, Frames, Rng, Times, Track, irregular


def _frames(source: str) -> Frames:
    """All frames of a graph of filters."""
    with av.open(source, format="lavfi") as container:
        return (
            np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], dtype=np.float32) / 255
        )


def _track(rng: Rng, times: Times, seconds: float) -> Track:
    """A decaying tone at each time, over faint noise."""
    pitch, decay = rng.uniform(200, 2000), rng.uniform(12, 40)
    # Each term is a tone from its start on; exp of a clipped argument, because before it the exponent is positive.
    terms = "+".join(f"gte(t,{t:.4f})*exp(-{decay:.2f}*max(0,t-{t:.4f}))" for t in times + MARGIN)
    wave = f"0.4*sin(2*PI*{pitch:.1f}*t)*({terms or '0'})+0.01*(random(0)-0.5)"
    with av.open(f"aevalsrc=exprs='{wave}':s={RATE}:d={seconds + 2 * MARGIN}", format="lavfi") as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def _box(rng: Rng) -> str:
    x, y = int(rng.integers(0, WIDTH - 34)), int(rng.integers(0, HEIGHT - 22))
    return f"drawbox=x={x}:y={y}:w=30:h=20:t=fill:color={rng.choice(['white', 'yellow', 'black', 'red'])}"


def _shown(rng: Rng, background: str, times: Times, last: Times, fps: int, seconds: float) -> Frames:
    """A box over ``background`` from each of ``times`` to the time in ``last``, with a little noise."""
    # A box is shown in the first frame at or after its time; the rounding of timestamps must not delay it by a frame.
    spans = "+".join(f"between(t,{a - 1e-3:.4f},{b - 2e-3:.4f})" for a, b in zip(times, last, strict=True)) or "0"
    source = f"{background}size={WIDTH}x{HEIGHT}:rate={fps}:duration={seconds}"
    return _frames(f"{source},format=rgb24,{_box(rng)}:enable='{spans}',noise=alls=3:allf=t,format=rgb24")


def _on_frames(times: Times, fps: int) -> Times:
    return np.round(times * fps) / fps


def _test_pattern(rng: Rng, fps: int, seconds: float) -> Drawing:
    """Boxes over the moving test picture ``testsrc2``."""
    times = irregular(rng, seconds)
    shown = _on_frames(times, fps)
    frames = _shown(rng, "testsrc2=", shown, shown + max(1 / fps, rng.uniform(0.05, 0.25)), fps, seconds)
    return frames, _track(rng, times, seconds)


def _color_bars(rng: Rng, fps: int, seconds: float) -> Drawing:
    """A box over colour bars that appears with one sound and disappears with the next."""
    times = irregular(rng, seconds, low=0.4, high=1.1)
    shown = _on_frames(times, fps)
    ends = np.append(shown[1::2], seconds)[: len(shown[::2])]
    return _shown(rng, "smptebars=", shown[::2], ends, fps, seconds), _track(rng, times, seconds)


def _fractal(rng: Rng, fps: int, seconds: float) -> Drawing:
    """Boxes over cells of the game of life, which change in every frame."""
    times = irregular(rng, seconds)
    shown = _on_frames(times, fps)
    source = f"life=size={WIDTH}x{HEIGHT}:rate={fps}:seed={int(rng.integers(1, 10_000))}:mold=10:ratio=0.15"
    spans = "+".join(f"between(t,{a - 1e-3:.4f},{a + 0.15:.4f})" for a in shown) or "0"
    frames = _frames(f"{source},trim=duration={seconds},format=rgb24,{_box(rng)}:enable='{spans}',format=rgb24")
    return 0.7 * frames, _track(rng, times, seconds)


SOURCES: dict[str, Callable[[Rng, int, float], Drawing]] = {
    "FFmpeg test picture": _test_pattern,
    "FFmpeg colour bars": _color_bars,
    "FFmpeg game of life": _fractal,
}
