"""Joining pieces of a clip: what the next piece receives of the clip so far, and one continuous picture and waveform.

Frames of an overlap are those of the earlier piece. Its waveform, not its latents, is handed on: it would lose quality each time that it
is decoded and encoded. Within the overlap the sound changes from the earlier piece to the later one in a crossfade of constant power.

Letters: c channels, f frames, n samples.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.documents import printable
from ..core.pieces import Extension, Piece
from ..core.streams import Clip
from ..core.weights import read_tensors, save_tensors

log = logging.getLogger(__name__)
FADE = 0.04  # seconds
EDGE = 0.03  # seconds at both ends of a decoded waveform that a crossfade avoids, because codecs are less exact there


@dataclass(frozen=True)
class Known:
    """What a piece keeps: the clip at its beginning, and the clip at its end if it closes a loop."""

    front: Clip | None = None
    back: Clip | None = None

    def filled(self, frames: int, samples: int) -> Clip | None:
        """A clip of a whole piece, in which what is not known yet mirrors what is, so that an encoder sees no edge next to what is kept;
        None if nothing is known."""
        known = self.front or self.back
        if known is None:
            return None
        picture = _filled(self.front and self.front.frames, self.back and self.back.frames, frames)
        sound = _filled(self.front and self.front.waveform.T, self.back and self.back.waveform.T, samples)
        return Clip(picture, known.fps, sound.T.contiguous(), known.sample_rate)


Make = Callable[[Piece, Known], Clip]


def crossfade(before: Float[Tensor, "c n"], after: Float[Tensor, "c n"]) -> Float[Tensor, "c n"]:
    """A change from ``before`` to ``after`` at constant power, whatever their correlation r (Fink et al., 2016): the linear gains 1 - t
    and t, divided by sqrt((1 - t)^2 + t^2 + 2 r t (1 - t)). With r = 1, the same signal twice, they are linear; with r = 0 the power of
    two unrelated signals stays the same, where linear gains would leave a dip of 3 dB."""
    energy = (before.square().sum() * after.square().sum()).sqrt()
    r = float(((before * after).sum() / energy.clamp_min(1e-12)).clamp(0, 1))
    t = (torch.arange(before.shape[1], device=before.device) + 0.5) / before.shape[1]
    return (before * (1 - t) + after * t) / ((1 - t).square() + t.square() + 2 * r * t * (1 - t)).sqrt()


def quietest(signal: Float[Tensor, "c n"], length: int, *, edge: int) -> int:
    """Where ``length`` consecutive samples have the least energy, at least ``edge`` samples from both ends if there is room."""
    energy = signal.double().square().sum(0).cumsum(0)
    sums = energy[length - 1 :] - torch.nn.functional.pad(energy[:-length], (1, 0))
    edge = min(edge, (len(sums) - 1) // 2)
    return edge + int(sums[edge : len(sums) - edge].argmin())


def joined_sound(
    before: Float[Tensor, "c n"], after: Float[Tensor, "c m"], *, shared: int, rate: int
) -> Float[Tensor, "c m"]:
    """``after``, except that its beginning is that of ``before``: the two overlap in ``shared`` samples, and the sound changes from one to
    the other where both together are quietest."""
    length = max(1, min(round(FADE * rate), shared // 2))
    at = quietest(torch.cat([before[:, :shared], after[:, :shared]]), length, edge=round(EDGE * rate))
    middle = crossfade(before[:, at : at + length], after[:, at : at + length])
    return torch.cat([before[:, :at], middle, after[:, at + length :]], dim=1)


def _filled(front: Tensor | None, back: Tensor | None, length: int) -> Tensor:
    """``front`` and ``back``, along their first axis, and between them the mirror images of both."""
    gap = length - sum(len(part) for part in (front, back) if part is not None)
    after = 0 if front is None else gap if back is None else gap // 2
    parts = [] if front is None else [front, front[_mirror(after, len(front))]]
    if back is not None:
        parts += [back.flip(0)[_mirror(gap - after, len(back))].flip(0), back]
    return torch.cat(parts)


def _mirror(count: int, length: int) -> Tensor:
    """Indices of ``count`` elements that follow ``length`` ones in their mirror image, which is repeated."""
    steps = torch.arange(count) % (2 * length)
    return torch.where(steps < length, length - 1 - steps, steps - length)


def as_bytes(clip: Clip) -> Clip:
    """``clip`` with frames in 8 bits, as every file stores them, so that a resumed run continues from exactly the same pictures."""
    done = clip.frames.dtype == torch.uint8
    frames = clip.frames if done else clip.frames.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    return Clip(frames, clip.fps, clip.waveform.float().cpu(), clip.sample_rate)


def extend(extension: Extension, make: Make, given: Clip | None = None) -> Iterator[Clip]:
    """The consecutive parts of the long clip, frames in 8 bits, each as soon as it is final. ``make`` returns the clip of a whole piece.
    Memory is needed for two pieces, however many there are, and for the ``given`` clip until its part is taken.

    Args:
        given: the beginning that exists already, of ``extension.given`` frames.
    """
    buffer = None if given is None else _Buffer(extension, extension.origin, as_bytes(given))
    head: Clip | None = None  # what a loop shows at its end
    for piece, following in pairwise((*extension.pieces, None)):
        assert piece is not None
        if buffer is not None:
            if head is None and extension.loop:
                head = buffer.part(extension.origin, 0)
            yield from buffer.taken(piece.start)
        front = None if buffer is None else buffer.before_seam(piece)
        made = as_bytes(make(piece, Known(front, head if piece.closing else None)))
        buffer = _Buffer(extension, piece.start, made) if buffer is None else buffer.followed_by(piece, made)
        if following is None:
            yield from buffer.closed(head).taken(extension.frames)


def stored(folder: Path, make: Make) -> Make:
    """``make``, except that each finished piece is kept in ``folder`` and read from there the next time."""

    def read_or_make(piece: Piece, known: Known) -> Clip:
        path = folder / f"piece-{piece.index}.safetensors"
        if path.is_file():
            try:
                found, facts = read_tensors(path)
                return Clip(found["frames"], float(facts["fps"]), found["waveform"], int(facts["rate"]))
            except (ValueError, KeyError) as error:  # a foreign or truncated file
                log.warning("Piece %d is generated again: %s", piece.index, printable(error))
        made = as_bytes(make(piece, known))
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"fps": repr(made.fps), "rate": str(made.sample_rate)}
        save_tensors(path, {"frames": made.frames, "waveform": made.waveform}, metadata=facts)
        return made

    return read_or_make


class _Buffer:
    """The latest part of the clip, from frame ``start`` on, that the next piece may still read."""

    def __init__(self, extension: Extension, start: int, clip: Clip) -> None:
        self.extension, self.start, self.clip = extension, start, clip

    def part(self, start: int, stop: int) -> Clip:
        """Frames ``start`` to ``stop`` and their sound."""
        sample = self.extension.clock.sample
        first, last = (sample(frame) - sample(self.start) for frame in (start, stop))
        frames = self.clip.frames[start - self.start : stop - self.start]
        return Clip(frames, self.clip.fps, self.clip.waveform[:, first:last], self.clip.sample_rate)

    def before_seam(self, piece: Piece) -> Clip:
        """What ``piece`` keeps: the frames before its seam, and the sound that is known."""
        clip = self.part(piece.start, piece.seam)
        return replace(clip, waveform=clip.waveform[:, : piece.known_sound(self.extension.clock)])

    def taken(self, stop: int) -> Iterator[Clip]:
        """What is shown before frame ``stop``, which is no longer kept; what lies before the clip itself is not shown."""
        if stop > max(self.start, 0):
            yield self.part(max(self.start, 0), stop)
        self.clip, self.start = self.part(stop, self.start + len(self.clip.frames)), stop

    def followed_by(self, piece: Piece, made: Clip) -> _Buffer:
        """The buffer after ``made``, which begins where this one does: frames up to its seam, and the beginning of its sound, stay."""
        sample = self.extension.clock.sample
        frames = torch.cat([self.clip.frames[: piece.kept], made.frames[piece.kept :]])
        count = sample(piece.start + len(made.frames)) - sample(piece.start)
        own = torch.nn.functional.pad(made.waveform[:, :count], (0, max(0, count - made.waveform.shape[1])))
        shared = piece.known_sound(self.extension.clock)
        sound = joined_sound(self.clip.waveform, own, shared=shared, rate=made.sample_rate)
        return _Buffer(self.extension, piece.start, Clip(frames, made.fps, sound, made.sample_rate))

    def closed(self, head: Clip | None) -> _Buffer:
        """The buffer whose end is ``head``, which continues at the beginning of the clip. The sound changes at the quietest place."""
        if head is None:
            return self
        rest = self.part(self.start, self.extension.frames - len(head.frames))
        tail = self.part(self.extension.frames - len(head.frames), self.extension.frames)
        # Both are cut from one clock in whole samples, so that either may have one sample more.
        count = tail.waveform.shape[1]
        known = torch.nn.functional.pad(head.waveform[:, :count], (0, max(0, count - head.waveform.shape[1])))
        sound = joined_sound(tail.waveform, known, shared=count, rate=head.sample_rate)
        frames, waveform = torch.cat([rest.frames, head.frames]), torch.cat([rest.waveform, sound], dim=1)
        return _Buffer(self.extension, self.start, Clip(frames, rest.fps, waveform, rest.sample_rate))
