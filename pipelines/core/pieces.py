"""Pieces of a clip that is longer than a model generates at once, on one absolute clock.

All positions are whole frames since the beginning of the clip; times and samples follow from them by exact fractions, so that nothing
is rounded for each piece and the streams cannot drift apart. Each piece keeps the latents at its beginning that are known from what
comes before it, and begins to be shown at its ``seam``.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from .streams import Streams

SLACK = 1e-6  # seconds by which a latent may reach beyond what is known
UNSURE = Fraction(
    1, 10
)  # seconds of sound at the end of a piece that the next piece generates again: their picture was not known yet
MAX_PIECES = 10_000


@dataclass(frozen=True)
class PieceClock:
    """What the latents of one piece cover: the frame at which each video latent begins and the second at which each audio latent begins,
    both followed by the end."""

    fps: Fraction
    sample_rate: int
    video: tuple[int, ...]
    audio: tuple[float, ...]

    @property
    def frames(self) -> int:
        """Frames of a piece."""
        return self.video[-1]

    @property
    def seconds(self) -> float:
        """Duration of a piece."""
        return float(self.frames / self.fps)

    def sample(self, frame: int) -> int:
        """The first sample of a frame, on the absolute clock; negative before its beginning."""
        return round(frame * self.sample_rate / self.fps)

    def whole_latents(self, frames: int) -> int:
        """The number of video latents that begin with a piece and end within its first ``frames`` frames."""
        return bisect_right(self.video, frames) - 1

    def frames_from(self, seconds: float) -> int:
        """The fewest frames of whole video latents that last at least ``seconds``."""
        return next((n for n in self.video if n >= seconds * self.fps - Fraction(1, 100)), self.frames + 1)


@dataclass(frozen=True)
class Piece:
    """One piece: the frame at which it begins, how many of its first frames are known and not shown, and how many frames at its end are
    those at the beginning of a loop."""

    index: int
    start: int
    kept: int = 0
    closing: int = 0

    @property
    def seam(self) -> int:
        """The first frame that is shown of this piece."""
        return self.start + self.kept

    def known_sound(self, clock: PieceClock) -> int:
        """Samples at the beginning whose sound is known: all of those before the seam except the unsure end of the earlier piece."""
        seconds = self.kept / clock.fps
        return int((seconds - min(UNSURE, seconds / 4)) * clock.sample_rate)

    def regenerated(self, clock: PieceClock) -> Streams[Float[Tensor, " n"]]:
        """Which latents of each stream are generated (1) and which are known (0)."""
        last = clock.frames - self.closing if self.closing else None
        known_sound = self.known_sound(clock) / clock.sample_rate + SLACK
        video = _generated(clock.video, self.kept, last)
        return Streams(
            video, _generated(clock.audio, known_sound, None if last is None else float(last / clock.fps) - SLACK)
        )


def _generated(edges: Sequence[float | int], until: float | int, since: float | int | None) -> Float[Tensor, " n"]:
    """0 for the latents that end by ``until`` or begin at or after ``since``, 1 for all others."""
    known = [stop <= until or (since is not None and start >= since) for start, stop in pairwise(edges)]
    return torch.tensor([0.0 if k else 1.0 for k in known])


@dataclass(frozen=True)
class Extension:
    """The pieces of a clip of ``frames`` frames. In a loop, what ``origin`` < 0 puts before the clip is shown again at its end."""

    clock: PieceClock
    frames: int
    overlap: int
    given: int = 0  # frames that exist already
    loop: bool = False

    def __post_init__(self) -> None:
        fps, whole = self.clock.fps, self.clock.frames
        least, most = self.clock.video[1], whole // 3 if self.loop else whole - self.clock.video[1]
        if not least <= self.overlap <= most:
            raise ValueError(
                f"The overlap is {float(self.overlap / fps):g} s; with pieces of {self.clock.seconds:g} s it must be from "
                f"{float(least / fps):g} to {float(most / fps):g} s{' in a loop' if self.loop else ''}."
            )
        if self.given and self.clock.whole_latents(self.given) < 1:
            raise ValueError(
                f"The clip lasts {float(self.given / fps):.2f} s; at least {float(least / fps):g} s, one video latent, are needed."
            )
        if self.loop and 0 < self.given < self.overlap:  # the loop ends in the frames before the overlap's end
            raise ValueError(
                f"The clip lasts {float(self.given / fps):.2f} s; in a loop it must last at least the overlap, "
                f"{float(self.overlap / fps):g} s. Choose a shorter overlap or a longer clip."
            )
        exists = self.given or whole
        shortest = max(exists, whole) - self.overlap if self.loop else exists
        if self.frames <= shortest:
            raise ValueError(
                f"The length is {float(self.frames / fps):g} s; it must be more than {float(shortest / fps):g} s, because "
                f"{'the clip' if self.given else 'one piece'} lasts {float(exists / fps):g} s. Ask for a longer clip."
            )
        if (self.frames - shortest) // self.hop > MAX_PIECES:
            raise ValueError(f"The clip would have more than {MAX_PIECES} pieces. Ask for a shorter clip.")

    @property
    def hop(self) -> int:
        """Frames that a piece adds."""
        return self.clock.frames - self.overlap

    @property
    def origin(self) -> int:
        """The frame at which the first piece, or the given clip, begins."""
        return -self.overlap if self.loop else 0

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The pieces to generate, in order. All have the same length. The last one ends with the clip, and keeps more if it has to; what
        it has to add between two known ends is at least as long as the overlap."""
        clock, final = self.clock, max(self.origin, self.frames - self.clock.frames)
        found = [] if self.given else [Piece(0, self.origin)]
        end = self.origin + (self.given or clock.frames)  # of what exists
        while end < self.frames:
            kept = clock.video[clock.whole_latents(min(self.overlap, end - self.origin))]
            start = end - kept
            closing = self.overlap if self.loop and start >= final else 0
            if start > final:
                start = final
                known = min(end - start, clock.frames - 2 * closing, clock.video[-2])
                kept = clock.video[clock.whole_latents(known)]
            found.append(Piece(len(found), start, kept, closing))
            end = start + clock.frames
        return tuple(found)

    def report(self, frames: int, samples: int) -> str:
        """The length of a finished clip of ``frames`` frames and ``samples`` samples, and by how much its streams differ, as text."""
        seconds, count = frames / self.clock.fps, len(self.pieces)
        drift = 1000 * (Fraction(samples, self.clock.sample_rate) - seconds)
        return (
            f"{float(seconds):g} s, {count} piece{'s' * (count != 1)}, audio {float(drift):+.2f} ms longer than video"
        )


def piece_seed(seed: int, index: int) -> int:
    """The seed of a piece: ``seed`` itself for the first one, so that it is the clip that the seed gives alone."""
    digest = hashlib.sha256(f"duet piece {seed} {index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1 if index else seed
