"""Segments of fixed length from media files of any length, read in order, with memory for one segment at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import av
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .conform import fit_picture
from .containers import AudioClock, check_gap, check_rate, open_media, samples_of, upright

CUT = 0.6  # share of the colour histogram that changes from one picture to the next at a cut
LEVELS = 4  # histogram bins of each colour
LATE = 0.5e-3  # seconds by which a timestamp may be late


@dataclass(frozen=True)
class SegmentShape:
    """Frames, pixels and rates of a segment."""

    frames: int
    height: int
    width: int
    fps: float
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Duration of the frames, and of the audio."""
        return self.frames / self.fps

    @property
    def samples(self) -> int:
        """Samples per channel."""
        return round(self.seconds * self.sample_rate)

    def oriented(self, height: int, width: int) -> SegmentShape:
        """The same shape, turned by 90 degrees if only one of it and a picture of ``height`` x ``width`` is portrait."""
        turn = height != width and (height > width) != (self.height > self.width)
        return replace(self, height=self.width, width=self.height) if turn else self


@dataclass(frozen=True)
class Segment:
    """Consecutive frames, the stereo waveform over the same time, and the time in the file at which they start, in seconds."""

    start: float
    frames: UInt8[Tensor, "t h w 3"]
    waveform: Float[Tensor, "2 samples"]


def read_segments(video: Path, audio: Path, shape: SegmentShape) -> Iterator[Segment]:
    """The consecutive segments of the video of a file, with the audio of the same file or of another one on the same clock.

    Frames are cropped to the centre, scaled, and resampled to a constant rate; audio is resampled and mixed to stereo, with silence where
    there is none. A portrait video gives portrait segments. No segment spans a cut; an incomplete segment before a cut or at the end is
    dropped.

    Raises:
        ValueError: not a readable media file, a missing stream, or a gap in the timestamps. It may be raised after some segments.
    """
    with ExitStack() as stack:
        pictures, sounds = (stack.enter_context(open_media(path)) for path in (video, audio))
        for path, streams, name in ((video, pictures.streams.video, "video"), (audio, sounds.streams.audio, "audio")):
            if not streams:
                raise ValueError(f"{path} has no {name} stream; both are required.")
        pictures.streams.video[0].thread_type = "AUTO"
        check_rate(audio, sounds.streams.audio[0].rate)
        reader = _SoundReader(audio, sounds, shape.sample_rate)
        frames: list[Tensor] = []
        last_shot = 0
        for time, picture, shot in _constant_rate(_shots(video, pictures, shape), shape.fps):
            frames = [*frames, picture] if shot == last_shot else [picture]
            last_shot = shot
            if len(frames) == shape.frames:
                start = time - (shape.frames - 1) / shape.fps
                yield Segment(start, torch.stack(frames), reader.take(round(start * shape.sample_rate), shape.samples))
                frames = []


def _shots(
    path: Path, container: av.container.InputContainer, shape: SegmentShape
) -> Iterator[tuple[float, Tensor, int]]:
    """Time in seconds, conformed picture and number of the shot of every decoded frame."""
    shot, last, before = 0, None, None
    for frame in container.decode(video=0):
        picture, time = upright(frame), (last or 0.0) if frame.time is None else frame.time
        check_gap(path, 0.0 if last is None else time - last)
        small = fit_picture(picture, shape.oriented(*picture.shape[:2]))
        colours = _histogram(small)
        if before is not None and (colours - before).abs().sum() / 2 > CUT:
            shot += 1
        yield time, small, shot
        last, before = time, colours


def _histogram(picture: Tensor) -> Tensor:
    """Shares of the colours of a picture in bytes, in ``LEVELS`` bins for each of red, green and blue."""
    red, green, blue = (picture[::4, ::4] // (256 // LEVELS)).long().unbind(-1)
    counts = torch.bincount((red * LEVELS * LEVELS + green * LEVELS + blue).flatten(), minlength=LEVELS**3)
    return counts / counts.sum()


def _constant_rate(shown: Iterator[tuple[float, Tensor, int]], fps: float) -> Iterator[tuple[float, Tensor, int]]:
    """Time, picture and shot of frames at a constant rate: each is the picture shown at its time. The last picture lasts as long as the
    one before it."""
    begin, count, gap = 0.0, 0, 0.0
    previous: tuple[float, Tensor, int] | None = None
    for following in shown:
        if previous is None:
            begin = following[0]
        else:
            gap = following[0] - previous[0]
            while begin + count / fps + LATE < following[0]:
                yield begin + count / fps, previous[1], previous[2]
                count += 1
        previous = following
    while previous is not None and begin + count / fps + LATE < previous[0] + gap:
        yield begin + count / fps, previous[1], previous[2]
        count += 1


class _SoundReader:
    """Stereo audio of an open file at ``rate``, taken in order, with silence where the file has a gap; only what is not yet taken is kept
    in memory."""

    def __init__(self, path: Path, container: av.container.InputContainer, rate: int) -> None:
        self.clock = AudioClock(path)
        self.frames = container.decode(audio=0)
        self.resampler = av.AudioResampler(format="flt", layout="stereo", rate=rate)
        self.rate = rate
        self.first: int | None = None  # position of the first sample kept, in samples since time zero
        self.kept = torch.zeros(2, 0)
        self.ended = False

    def take(self, first: int, count: int) -> Float[Tensor, "2 count"]:
        """Samples ``first`` to ``first + count`` since time zero; silence before the beginning and after the end."""
        while not self.ended and (self.first is None or self.first + self.kept.shape[1] < first + count):
            self._decode(before=first)
        own = self.first or 0
        parts = self.kept[:, max(0, first - own) : max(0, first + count - own)]
        missing = min(count, max(0, own - first))
        return torch.nn.functional.pad(parts, (missing, count - missing - parts.shape[1]))

    def _decode(self, *, before: int) -> None:
        """Add the next frame to what is kept, and drop what lies before sample ``before``."""
        frame = next(self.frames, None)
        if frame is not None and self.first is None:
            self.first = round((frame.time or 0.0) * self.rate)
        self.ended = frame is None
        silent = 0 if frame is None else round(self.clock.missing(frame) * self.rate)
        parts = [samples_of(part) for part in self.resampler.resample(frame)]
        self.kept = torch.cat([self.kept, torch.zeros(2, silent), *parts], dim=1)
        if self.first is not None and self.first < before:
            drop = min(before - self.first, self.kept.shape[1])
            self.kept, self.first = self.kept[:, drop:], self.first + drop
