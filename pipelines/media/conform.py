"""Conform media files to a clip's rates and size: frames cropped to the centre and scaled, audio resampled and mixed to stereo."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import torch
from jaxtyping import Float
from torch import Tensor

from ..core.keep import AUDIO, VIDEO
from ..core.sizes import ClipShape
from ..core.streams import Clip, Streams
from .containers import MAX_FRAMES, MAX_SECONDS, check_gap, check_rate, open_media, upright
from .sound import Samples, fit_sound


@runtime_checkable
class FrameSize(Protocol):
    """Target height, width and frame rate of frames."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def fps(self) -> float: ...


def conform_frames(pictures: Sequence[Tensor], times: Tensor, shape: FrameSize) -> Float[Tensor, "f h w 3"]:
    """Frames at ``shape``'s constant rate, in 0..1, from ``pictures`` [h, w, 3] in bytes that are shown from ``times`` (seconds) on. Each
    frame is the picture shown at its time, so the timing of variable frame rates is preserved."""
    shown = Shown(shape.fps)
    for picture, time in zip(pictures, times.tolist(), strict=True):
        shown.add(time, lambda picture=picture: picture)
    return shown.frames()


class Shown:
    """The picture shown at each time k / ``fps`` after the first one, for k from ``first`` to ``first + count``: collected as pictures are
    decoded, so that memory depends on the frames that are wanted and not on the length of the file."""

    def __init__(self, fps: float | int, *, first: int = 0, count: float | int = math.inf) -> None:
        self.fps, self.first, self.count = fps, first, count
        self.times = array("d")
        self.chosen: list[Tensor] = []
        self.next = 0  # the k that is sought
        self.picture: Tensor | None = None  # of the latest frame, once it has been decoded
        self.decode: Callable[[], Tensor] | None = None

    def add(self, time: float, decode: Callable[[], Tensor]) -> None:
        """A picture that is shown from ``time`` (seconds) on; ``decode`` returns it if it is wanted."""
        time = max(time, self.times[-1]) if self.times else time
        if self.times:
            self._fill(lambda k: self.times[0] + k / self.fps + 0.5e-3 < time)
        self.times.append(time)
        self.picture, self.decode = None, decode

    def _fill(self, is_shown: Callable[[int], bool]) -> None:
        """Choose the latest picture for each k at which it is shown."""
        while is_shown(self.next) and not self.complete():
            if self.next >= self.first:
                if self.picture is None and self.decode is not None:
                    self.picture = self.decode()
                assert self.picture is not None
                self.chosen.append(self.picture)
            self.next += 1

    def complete(self) -> bool:
        """Whether all wanted frames are chosen."""
        return self.next >= self.first + self.count

    @property
    def length(self) -> int:
        """The number of frames of all pictures so far; the last one is shown for the median of the durations."""
        times = torch.tensor(self.times, dtype=torch.float64)
        last = float(times[-1] - times[0]) + (float(times.diff().median()) if len(times) > 1 else 0.0)
        return max(1, round(last * self.fps))

    def frames(self) -> Float[Tensor, "f h w 3"]:
        """The chosen frames, in 0..1; no more pictures follow. Empty if the pictures end before ``first``."""
        if not self.complete():
            length = self.length
            self._fill(lambda k: k < length)
            del self.chosen[max(0, length - self.first) :]
        return torch.stack(self.chosen).float() / 255 if self.chosen else torch.zeros(0, 1, 1, 3)


def fit_picture(picture: Tensor, shape: FrameSize) -> Tensor:
    """The centre of ``picture`` [h, w, 3], cropped to ``shape``'s aspect ratio and scaled to its size, in bytes."""
    height, width = picture.shape[:2]
    scale = min(height / shape.height, width / shape.width)
    rows, columns = round(shape.height * scale), round(shape.width * scale)
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = picture[top : top + rows, left : left + columns].permute(2, 0, 1)[None].float()
    size = (shape.height, shape.width)
    if scale < 1:
        small = torch.nn.functional.interpolate(middle, size=size, mode="bilinear").clamp(0, 255)
    else:
        small = torch.nn.functional.interpolate(middle, size=size, mode="area")
    return small[0].permute(1, 2, 0).round().byte()


class _Video:
    """``Shown`` for the frames of a file, with limits on their number and times."""

    def __init__(self, path: Path, shape: ClipShape, *, first: int = 0, count: float | int = math.inf) -> None:
        self.path, self.shape, self.shown = path, shape, Shown(shape.fps, first=first, count=count)

    def add(self, frame: av.VideoFrame) -> None:
        """The next frame of the file."""
        times = self.shown.times
        time = (times[-1] if times else 0.0) if frame.time is None else frame.time
        if times:
            check_gap(self.path, time - times[-1])
        if len(times) >= MAX_FRAMES or (self.shown.count == math.inf and times and time - times[0] > MAX_SECONDS):
            raise ValueError(
                f"{self.path} is longer than {MAX_SECONDS:g} s or has more than {MAX_FRAMES} frames. Cut it into shorter files."
            )
        self.shown.add(time, lambda: fit_picture(upright(frame), self.shape))

    def frames(self) -> Float[Tensor, "f h w 3"]:
        """The frames that are wanted.

        Raises:
            ValueError: the file has no frames.
        """
        if not self.shown.times:
            raise ValueError(f"{self.path}: the video stream is empty.")
        return self.shown.frames()


def read_pictures(path: Path, shape: ClipShape, *, start: float, count: int) -> tuple[Float[Tensor, "f h w 3"], float]:
    """``count`` frames of a media file from ``start`` seconds on (fewer if it ends before), and the seconds up to which it was read. Only
    these frames are kept in memory.

    Raises:
        ValueError: not a readable media file, no frames, or a gap in the timestamps.
    """
    video = _Video(path, shape, first=round(start * shape.fps), count=count)
    with open_media(path) as container:
        if not container.streams.video:
            raise ValueError(f"{path} has no video stream to keep.")
        for frame in container.decode(video=0):
            video.add(frame)
            if video.shown.complete():
                break
    frames = video.frames()
    return frames, (video.shown.next if video.shown.complete() else video.shown.length) / shape.fps


def read_streams(path: Path, shape: ClipShape) -> Streams[Tensor]:
    """Frames [f, h, w, 3] and stereo waveform [2, samples] of a media file, each at its full length; None for a missing stream. Audio
    that starts after the video is padded with silence, audio that starts before it is cut.

    Raises:
        ValueError: not a readable media file, an empty stream, a gap in the timestamps, or more than ``MAX_SECONDS``.
    """
    video = _Video(path, shape)
    sound = Samples(path, av.AudioResampler(format="flt", layout="stereo", rate=shape.sample_rate))
    with open_media(path) as container:
        found = {name: streams for name in (VIDEO, AUDIO) if (streams := getattr(container.streams, name))}
        if not found:
            raise ValueError(f"{path} has neither a video nor an audio stream.")
        if AUDIO in found:
            check_rate(path, found[AUDIO][0].rate)
        for frame in container.decode(*(streams[0] for streams in found.values())):
            if isinstance(frame, av.VideoFrame):
                video.add(frame)
            elif isinstance(frame, av.AudioFrame):
                sound.add(frame)
        if sound.begin is not None:
            sound.add(None)
    frames = video.frames() if VIDEO in found else None
    waveform = sound.waveform() if AUDIO in found else None
    if waveform is not None and frames is not None:
        gap = (sound.begin or 0.0) - video.shown.times[0]
        check_gap(path, gap)
        late = round(gap * shape.sample_rate)
        waveform = torch.nn.functional.pad(waveform, (max(0, late), 0))[:, max(0, -late) :]
    return Streams(frames, waveform)


def read_conformed(path: Path, shape: ClipShape) -> Clip:
    """All frames of a media file, and its audio cut or padded to their duration.

    Raises:
        ValueError: not a readable media file, or a stream is missing or empty.
    """
    streams = read_streams(path, shape)
    if streams.video is None or streams.audio is None:
        raise ValueError(f"{path} has no {VIDEO if streams.video is None else AUDIO} stream; both are required.")
    seconds = len(streams.video) / shape.fps
    sound = fit_sound(streams.audio, seconds=seconds, sample_rate=shape.sample_rate)
    return Clip(streams.video, float(shape.fps), sound, shape.sample_rate)
