"""Conform media files to a clip's rates and size: frames cropped to the centre and scaled, audio resampled and mixed to stereo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import torch
from jaxtyping import Float
from torch import Tensor

from ..core.keep import AUDIO, VIDEO
from ..core.sizes import ClipShape
from ..core.streams import Clip, Streams
from .containers import check_rate, check_times, open_media, samples_of, upright
from .sound import fit_sound


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
    times = times.double()
    last = float(times[-1] - times[0]) + (float(times.diff().median()) if len(times) > 1 else 0.0)
    wanted = times[0] + torch.arange(max(1, round(last * shape.fps)), dtype=torch.float64) / shape.fps
    pick = (torch.searchsorted(times, wanted + 0.5e-3, right=True) - 1).clamp_min(0)
    return torch.stack(list(pictures))[pick].float() / 255


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


def read_streams(path: Path, shape: ClipShape) -> Streams[Tensor]:
    """Frames [f, h, w, 3] and stereo waveform [2, samples] of a media file, each at its full length; None for a missing stream. Audio
    that starts after the video is padded with silence, audio that starts before it is cut.

    Raises:
        ValueError: not a readable media file, an empty stream, or a gap in the timestamps.
    """
    resampler = av.AudioResampler(format="flt", layout="stereo", rate=shape.sample_rate)
    pictures: list[Tensor] = []
    times: list[float] = []
    sounds: list[Tensor] = []
    audio_start: float | None = None
    with open_media(path) as container:
        found = {name: streams for name in (VIDEO, AUDIO) if (streams := getattr(container.streams, name))}
        if not found:
            raise ValueError(f"{path} has neither a video nor an audio stream.")
        if AUDIO in found:
            check_rate(path, found[AUDIO][0].rate)
        for frame in container.decode(*(streams[0] for streams in found.values())):
            if isinstance(frame, av.VideoFrame):
                pictures.append(fit_picture(upright(frame), shape))
                times.append(frame.time or 0.0)
            else:
                audio_start = frame.time or 0.0 if audio_start is None else audio_start
                sounds += [samples_of(f) for f in resampler.resample(frame)]
        if AUDIO in found:
            sounds += [samples_of(f) for f in resampler.resample(None)]
    for name, parts in ((VIDEO, pictures), (AUDIO, sounds)):
        if name in found and not parts:
            raise ValueError(f"{path}: the {name} stream is empty.")
    check_times(path, times, audio_start=audio_start)
    sound = None
    if sounds:
        late = round(((audio_start or 0.0) - (times[0] if times else 0.0)) * shape.sample_rate)
        sound = torch.nn.functional.pad(torch.cat(sounds, dim=1), (max(0, late), 0))[:, max(0, -late) :]
    frames = conform_frames(pictures, torch.tensor(times, dtype=torch.float64), shape) if pictures else None
    return Streams(frames, sound)


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
