"""Scenes with known event times for validating the sync meter, drawn with numpy; speech is synthesised by espeak-ng where it is
installed. They share no code with the renderers of the pocket world.

Each scene is drawn as frames and as a *track*: its audio from ``MARGIN`` seconds before the first frame to ``MARGIN`` after the last, in
step with the frames, so that it can be cut with any delay up to ``MARGIN``.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from collections.abc import Callable
from functools import cache

import numpy as np

RATE = 16_000  # samples per second
HEIGHT, WIDTH = 54, 96
MARGIN = 1.0  # seconds
FLASHES = (0.03, 0.4)  # shortest and longest flash in seconds
NOISE = 0.01  # standard deviation of the noise in the audio
Frames = np.ndarray  # [f, HEIGHT, WIDTH, 3] in 0..1
Times = np.ndarray  # seconds
Track = np.ndarray  # [samples]
Drawing = tuple[Frames, Track]
Rng = np.random.Generator
SENTENCES = (
    "The ferry leaves at a quarter past nine, so we should pack tonight.",
    "Please put the blue cups on the top shelf next to the kettle.",
    "Nobody told me that the meeting had been moved to Tuesday.",
    "Turn left at the bakery, walk past the park, and stop at the bridge.",
    "It rained for three days, but on Sunday the sky was perfectly clear.",
    "Can you tell me how much butter goes into the second batch?",
)


def irregular(rng: Rng, seconds: float, *, low: float = 0.5, high: float = 1.2) -> Times:
    """Event times with intervals from ``low`` to ``high`` seconds."""
    times = 0.3 + np.cumsum(rng.uniform(low, high, int(seconds / low) + 1))
    return times[times < seconds - 0.2]


def silence(rng: Rng, seconds: float) -> Track:
    """A track with faint noise only."""
    return NOISE * rng.standard_normal(round((seconds + 2 * MARGIN) * RATE))


def tones(rng: Rng, times: Times, seconds: float) -> Track:
    """A decaying tone at each time, or a noise burst in every fourth clip."""
    clock, track = np.arange(round(0.25 * RATE)) / RATE, silence(rng, seconds)
    pitch, decay, noisy = rng.uniform(150, 2000), rng.uniform(12, 40), rng.random() < 0.25
    for start in np.round((times + MARGIN) * RATE).astype(int):
        part = track[max(0, start) : start + len(clock)]
        body = rng.uniform(-1, 1, len(clock)) if noisy else np.sin(2 * np.pi * pitch * clock)
        part += (0.5 * body * np.exp(-decay * clock))[: len(part)]
    return track


def blank(rng: Rng, fps: int, seconds: float) -> Frames:
    """A still, smooth background."""
    edges = rng.uniform(0.1, 0.5, (2, 3))
    ramp = np.linspace(0, 1, WIDTH)[:, None] * edges[0] + np.linspace(1, 0, WIDTH)[:, None] * edges[1]
    return np.tile(ramp.astype(np.float32), (round(fps * seconds), HEIGHT, 1, 1))


def texture(rng: Rng, width: int = WIDTH) -> np.ndarray:
    """A still picture of squares of random colours, [HEIGHT, width, 3]."""
    squares = rng.uniform(0.1, 0.5, (HEIGHT // 6 + 1, width // 6 + 1, 3)).repeat(6, 0).repeat(6, 1)
    return squares[:HEIGHT, :width].astype(np.float32)


def lit(rng: Rng, frames: Frames, times: Times, fps: int, duration: float) -> Frames:
    """``frames`` with one rectangle that is bright for ``duration`` seconds from each time, at least one frame."""
    top, left = int(rng.integers(0, HEIGHT // 2)), int(rng.integers(0, WIDTH // 2))
    for time in times:
        first = round(time * fps)
        frames[first : first + max(1, round(duration * fps)), top : top + HEIGHT // 3, left : left + WIDTH // 3] += 0.5
    return frames


def _flashes(rng: Rng, fps: int, seconds: float) -> Drawing:
    times = irregular(rng, seconds)
    return lit(rng, blank(rng, fps, seconds), times, fps, float(rng.uniform(*FLASHES))), tones(rng, times, seconds)


def _metronome(rng: Rng, fps: int, seconds: float) -> Drawing:
    times = np.arange(0.3, seconds - 0.2, rng.uniform(0.25, 1.2))
    return lit(rng, blank(rng, fps, seconds), times, fps, 0.1), tones(rng, times, seconds)


def _drums(rng: Rng, fps: int, seconds: float) -> Drawing:
    """Two pads; each hit brightens one of them briefly."""
    frames, times = blank(rng, fps, seconds), irregular(rng, seconds, low=0.25, high=0.8)
    pad = rng.random(len(times)) < 0.5
    frames = lit(rng, lit(rng, frames, times[pad], fps, 0.08), times[~pad], fps, 0.08)
    return frames, tones(rng, times, seconds)


def _disc(frames: Frames, f: int, row: float, column: float, radius: float = 6.0) -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames[f] += 0.5 * np.clip(radius - np.hypot(rows - row, columns - column), 0, 1)[..., None].astype(np.float32)


def _bounce(rng: Rng, fps: int, seconds: float) -> Drawing:
    """A ball on parabolas of irregular height between impacts; gravity of 240 pixels per second squared."""
    frames, times = blank(rng, fps, seconds), irregular(rng, seconds)
    impacts = np.concatenate([[times[0] - 1.0], times, [times[-1] + 1.0]])
    for f in range(len(frames)):
        now = f / fps
        k = int(np.clip(np.searchsorted(impacts, now, "right"), 1, len(impacts) - 1))
        height = 120.0 * max(0.0, (now - impacts[k - 1]) * (impacts[k] - now))
        _disc(frames, f, HEIGHT - 8 - height, WIDTH / 2)
    return frames, tones(rng, times, seconds)


def _hammer(rng: Rng, fps: int, seconds: float) -> Drawing:
    """A mallet that is raised slowly, strikes within 0.15 s and stays on the plate for a moment."""
    frames, times = blank(rng, fps, seconds), irregular(rng, seconds, low=0.6, high=1.4)
    down, up = 0.15, 0.35
    for f in range(len(frames)):
        away = f / fps - times
        before, after = away[away < 0].max(initial=-9.0), away[away >= 0].min(initial=9.0)
        lift = min(1.0, max(0.0, (after - 0.1) / up)) if before < -down else min(1.0, -before / down) ** 0.5
        _disc(frames, f, HEIGHT - 10 - 28 * lift, WIDTH / 3, 7.0)
    return frames, tones(rng, times, seconds)


def _shake(rng: Rng, fps: int, seconds: float) -> Drawing:
    """Flashes before a textured background under a shaking camera."""
    times = irregular(rng, seconds)
    frames = lit(rng, np.tile(texture(rng), (round(fps * seconds), 1, 1, 1)), times, fps, 0.15)
    moves = np.round(rng.standard_normal((len(frames), 2))).astype(int)
    shaken = np.stack([np.roll(frame, tuple(move), (0, 1)) for frame, move in zip(frames, moves, strict=True)])
    return shaken, tones(rng, times, seconds)


def _cuts(rng: Rng, fps: int, seconds: float) -> Drawing:
    """Flashes with sounds, and silent cuts between backgrounds every 1.5 to 4 s."""
    times, frames = irregular(rng, seconds), blank(rng, fps, seconds)
    for start in np.cumsum(rng.uniform(1.5, 4.0, int(seconds))):
        frames[round(start * fps) :] = texture(rng)
    return lit(rng, frames, times, fps, 0.12), tones(rng, times, seconds)


def _desktop(rng: Rng, fps: int, seconds: float) -> Drawing:
    """A screen recording: a pointer moves; each click opens or closes a window in one frame and is heard; text appears silently."""
    clicks = irregular(rng, seconds, low=0.7, high=1.8)
    frames = np.full((round(fps * seconds), HEIGHT, WIDTH, 3), 0.2, np.float32)
    frames[:, -5:] = 0.35
    stops = np.concatenate([[0.0], clicks, [seconds]])
    places = np.stack([rng.uniform(5, HEIGHT - 12, len(stops)), rng.uniform(5, WIDTH - 8, len(stops))], 1)
    for k, time in enumerate(clicks):
        top, left = int(rng.integers(2, 20)), int(rng.integers(2, 50))
        last = round((clicks[k + 1] if k + 1 < len(clicks) else seconds) * fps) if rng.random() < 0.6 else None
        frames[round(time * fps) : last, top : top + 24, left : left + 36] = rng.uniform(0.6, 0.95, 3)
    for start in np.arange(0.5, seconds, 0.12):  # a line of text grows and starts again
        letter = int(start / 0.12) % 40
        frames[round(start * fps) : round((start + (40 - letter) * 0.12) * fps), 44:46, 4 + 2 * letter] = 0.9
    for f in range(len(frames)):
        here = [np.interp(f / fps, stops, places[:, axis]) for axis in (0, 1)]
        _disc(frames, f, here[0], here[1], 2.5)
    return frames, tones(rng, clicks, seconds)


def has_speech() -> bool:
    """True if espeak-ng is installed."""
    return shutil.which("espeak-ng") is not None


@cache
def _spoken(text: str, speed: int) -> Track:
    """``text`` spoken by espeak-ng, at ``RATE``, with its largest sample at 1."""
    command = ["espeak-ng", "--stdout", "-s", str(speed), text]
    data = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - our own sentences
    with wave.open(io.BytesIO(data)) as file:
        rate, pcm = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
    clock = np.arange(round(len(pcm) / rate * RATE)) / RATE
    spoken = np.interp(clock, np.arange(len(pcm)) / rate, pcm.astype(np.float64))
    return spoken / np.abs(spoken).max()


def _voice(rng: Rng, seconds: float) -> Track:
    """Sentences with pauses over a whole track."""
    track, place = silence(rng, seconds), 0
    while place < len(track):
        said = 0.5 * _spoken(SENTENCES[int(rng.integers(len(SENTENCES)))], int(rng.integers(130, 190)))
        part = track[place : place + len(said)]
        part += said[: len(part)]
        place += len(said) + round(rng.uniform(0.2, 0.8) * RATE)
    return track


def _mouth(rng: Rng, frames: Frames, voice: Track, fps: int) -> Frames:
    """A face whose mouth opens with the level of ``voice``, averaged over 50 ms, and whose head moves slowly."""
    size = round(0.05 * RATE)
    level = np.sqrt(np.convolve(voice**2, np.ones(size) / size, "same"))
    level = np.clip(level / np.quantile(level, 0.97), 0, 1)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    phase = rng.uniform(0, 6)
    for f in range(len(frames)):
        opening = level[round((MARGIN + f / fps) * RATE)]
        y, x = HEIGHT / 2 + 1.5 * np.sin(0.9 * f / fps + phase), WIDTH / 2 + 2 * np.sin(0.6 * f / fps)
        frames[f][np.hypot((rows - y) / 24, (columns - x) / 18) < 1] = (0.8, 0.6, 0.5)
        frames[f][np.hypot((rows - y - 10) / (1 + 6 * opening), (columns - x) / 8) < 1] = (0.3, 0.05, 0.05)
    return frames


def _speech(rng: Rng, fps: int, seconds: float) -> Drawing:
    voice = _voice(rng, seconds)
    return _mouth(rng, blank(rng, fps, seconds), voice, fps), voice


def music(rng: Rng, seconds: float) -> Track:
    """Chords on a steady beat, of which nothing is seen."""
    clock, track = np.arange(round(0.6 * RATE)) / RATE, silence(rng, seconds)
    for start in np.arange(rng.uniform(0, 0.5), seconds + 2 * MARGIN, rng.uniform(0.35, 0.7)):
        chord = sum(np.sin(2 * np.pi * 110 * 2 ** (step / 12) * clock) for step in rng.choice(24, 3, replace=False))
        part = track[round(start * RATE) : round(start * RATE) + len(clock)]
        part += (0.08 * np.asarray(chord) * np.exp(-4 * clock))[: len(part)]
    return track


def _music_over_talk(rng: Rng, fps: int, seconds: float) -> Drawing:
    frames, voice = _speech(rng, fps, seconds)
    return frames, 0.6 * voice + rng.uniform(0.3, 1.0) * music(rng, seconds)


def _music_over_events(rng: Rng, fps: int, seconds: float) -> Drawing:
    frames, track = _drums(rng, fps, seconds)
    return frames, track + rng.uniform(0.3, 1.0) * music(rng, seconds)


def steady_motion(rng: Rng, fps: int, seconds: float) -> Drawing:
    """A camera pans over a still scene at constant speed, to music: nothing that is heard is seen."""
    wide, speed = texture(rng, WIDTH + 40 * round(seconds + 1)), rng.uniform(8, 35)
    starts = (np.arange(round(fps * seconds)) * speed / fps).round().astype(int)
    return np.stack([wide[:, start : start + WIDTH] for start in starts]), music(rng, seconds)


SCENES: dict[str, Callable[[Rng, int, float], Drawing]] = {
    "flashes": _flashes,
    "metronome": _metronome,
    "bouncing ball": _bounce,
    "hammer": _hammer,
    "drums": _drums,
    "music over drums": _music_over_events,
    "camera shake": _shake,
    "cuts": _cuts,
    "screen recording": _desktop,
}
SPOKEN: dict[str, Callable[[Rng, int, float], Drawing]] = {"speech": _speech, "music over speech": _music_over_talk}
