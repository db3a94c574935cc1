"""Clips with a known audio delay for validating the sync meter, drawn with numpy: flashes, a metronome, a bouncing ball, drums and a
shaking camera. They share no code with the renderers of the pocket world.

Development uses seed ``DEVELOPMENT``, reported numbers use seed ``RECORD``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..core.streams import Clip
from ..sync.meter import Agreement

DEVELOPMENT, RECORD = 1, 2
RATE = 16_000  # samples per second
HEIGHT, WIDTH = 54, 96
FPS = (24, 25, 30, 60)
SECONDS = (2, 4, 8, 20)
MAX_SHIFT = 0.5  # seconds, either way
FLASHES = (0.03, 0.4)  # shortest and longest flash in seconds
NOISE = 0.01  # standard deviation of the noise in frames and audio
Frames = np.ndarray  # [f, HEIGHT, WIDTH, 3] in 0..1
Times = np.ndarray  # seconds


@dataclass(frozen=True)
class Labelled:
    """A clip with its kind and the delay of its audio in seconds; ``late`` is None if the audio is unrelated to the video."""

    kind: str
    clip: Clip
    late: float | None


def clips(seed: int, count: int) -> list[Labelled]:
    """``count`` clips of each kind, and each of them again with the audio of another clip of another kind."""
    made = [_clip(kind, np.random.default_rng((seed, k, i))) for k, kind in enumerate(KINDS) for i in range(count)]
    swapped = [
        Labelled(one.kind, _with_audio_of(one.clip, made[(i + count) % len(made)].clip), None)
        for i, one in enumerate(made)
    ]
    return made + swapped


def summary(found: list[tuple[Labelled, Agreement]]) -> dict[str, dict[str, float]]:
    """For each kind: the share of related clips with evidence, the share of these within one frame, and the share of unrelated clips with
    evidence. The second share is absent without evidence."""
    table: dict[str, dict[str, float]] = {}
    for kind in dict.fromkeys(each.kind for each, _ in found):
        related = [(each, a) for each, a in found if each.kind == kind and each.late is not None]
        unrelated = [a.offset is not None for each, a in found if each.kind == kind and each.late is None]
        within = [
            abs(a.offset - each.late) <= 1 / each.clip.fps
            for each, a in related
            if a.offset is not None and each.late is not None
        ]
        table[kind] = {"evidence": len(within) / len(related), "unrelated_evidence": float(np.mean(unrelated))}
        table[kind] |= {"within_a_frame": float(np.mean(within))} if within else {}
    return table


def _clip(kind: str, rng: np.random.Generator) -> Labelled:
    fps, seconds = int(rng.choice(FPS)), float(rng.choice(SECONDS))
    late = float(rng.uniform(-MAX_SHIFT, MAX_SHIFT))
    frames, times = KINDS[kind](rng, fps, seconds)
    frames = np.clip(frames + NOISE * rng.standard_normal(frames.shape, dtype=np.float32), 0, 1)
    sound = _sound(rng, times + late, seconds)
    clip = Clip(torch.from_numpy(frames.astype(np.float32)), float(fps), torch.from_numpy(sound)[None], RATE)
    return Labelled(kind, clip, late)


def _with_audio_of(clip: Clip, other: Clip) -> Clip:
    """``clip`` with the audio of ``other``, repeated or cut to its duration."""
    samples = clip.waveform.shape[1]
    copies = -(-samples // other.waveform.shape[1])
    return replace(clip, waveform=other.waveform.repeat(1, copies)[:, :samples])


def _irregular(rng: np.random.Generator, seconds: float, *, low: float = 0.5, high: float = 1.2) -> Times:
    """Event times with intervals from ``low`` to ``high`` seconds."""
    times = 0.3 + np.cumsum(rng.uniform(low, high, int(seconds / low) + 1))
    return times[times < seconds - 0.2]


def _sound(rng: np.random.Generator, times: Times, seconds: float) -> np.ndarray:
    """A decaying tone at each time, with noise, [samples]."""
    clock, sound = np.arange(round(0.25 * RATE)) / RATE, NOISE * rng.standard_normal(round(seconds * RATE))
    pitch, decay = rng.uniform(150, 2000), rng.uniform(12, 40)
    for start in np.round(times[times >= 0] * RATE).astype(int):
        part = sound[start : start + len(clock)]
        part += (0.5 * np.sin(2 * np.pi * pitch * clock) * np.exp(-decay * clock))[: len(part)]
    return sound.astype(np.float32)


def _blank(rng: np.random.Generator, fps: int, seconds: float) -> Frames:
    """A still, smooth background."""
    edges = rng.uniform(0.1, 0.5, (2, 3))
    ramp = np.linspace(0, 1, WIDTH)[:, None] * edges[0] + np.linspace(1, 0, WIDTH)[:, None] * edges[1]
    return np.tile(ramp.astype(np.float32), (round(fps * seconds), HEIGHT, 1, 1))


def _lit(rng: np.random.Generator, frames: Frames, times: Times, fps: int, duration: float) -> Frames:
    """``frames`` with one rectangle that is bright for ``duration`` seconds from each time, at least one frame."""
    top, left = int(rng.integers(0, HEIGHT // 2)), int(rng.integers(0, WIDTH // 2))
    for time in times:
        first = round(time * fps)
        frames[first : first + max(1, round(duration * fps)), top : top + HEIGHT // 3, left : left + WIDTH // 3] += 0.5
    return frames


def _flashes(rng: np.random.Generator, fps: int, seconds: float) -> tuple[Frames, Times]:
    times = _irregular(rng, seconds)
    return _lit(rng, _blank(rng, fps, seconds), times, fps, float(rng.uniform(*FLASHES))), times


def _metronome(rng: np.random.Generator, fps: int, seconds: float) -> tuple[Frames, Times]:
    times = np.arange(0.3, seconds - 0.2, rng.uniform(0.4, 1.2))
    return _lit(rng, _blank(rng, fps, seconds), times, fps, 0.1), times


def _drums(rng: np.random.Generator, fps: int, seconds: float) -> tuple[Frames, Times]:
    """Two pads; each hit brightens one of them briefly."""
    frames, times = _blank(rng, fps, seconds), _irregular(rng, seconds, low=0.25, high=0.8)
    pad = rng.random(len(times)) < 0.5
    return _lit(rng, _lit(rng, frames, times[pad], fps, 0.08), times[~pad], fps, 0.08), times


def _bounce(rng: np.random.Generator, fps: int, seconds: float) -> tuple[Frames, Times]:
    """A ball on parabolas of irregular height between impacts."""
    frames, times = _blank(rng, fps, seconds), _irregular(rng, seconds)
    impacts = np.concatenate([[times[0] - 1.0], times, [times[-1] + 1.0]])
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for f in range(len(frames)):
        now = f / fps
        k = int(np.clip(np.searchsorted(impacts, now, "right"), 1, len(impacts) - 1))
        height = 120.0 * max(
            0.0, (now - impacts[k - 1]) * (impacts[k] - now)
        )  # gravity of 240 pixels per second squared
        away = np.hypot(rows - (HEIGHT - 8 - height), columns - WIDTH / 2)
        frames[f] += 0.5 * np.clip(6 - away, 0, 1)[..., None].astype(np.float32)
    return frames, times


def _shake(rng: np.random.Generator, fps: int, seconds: float) -> tuple[Frames, Times]:
    """Flashes before a textured background under a shaking camera."""
    times = _irregular(rng, seconds)
    texture = rng.uniform(0.1, 0.5, (HEIGHT // 6 + 1, WIDTH // 6 + 1, 3)).repeat(6, 0).repeat(6, 1)[:HEIGHT, :WIDTH]
    lit = _lit(rng, np.tile(texture.astype(np.float32), (round(fps * seconds), 1, 1, 1)), times, fps, 0.15)
    moves = np.round(rng.standard_normal((len(lit), 2))).astype(int)
    return np.stack([np.roll(frame, tuple(move), (0, 1)) for frame, move in zip(lit, moves, strict=True)]), times


KINDS: dict[str, Callable[[np.random.Generator, int, float], tuple[Frames, Times]]] = {
    "flashes": _flashes,
    "metronome": _metronome,
    "bouncing ball": _bounce,
    "drums": _drums,
    "camera shake": _shake,
}
