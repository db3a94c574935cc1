"""Reading and writing mp4 files with video and audio (PyAV)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import torch
from torch import Tensor

from ..core.files import atomic_output
from ..core.streams import Clip
from .aac import StoredSound, add_aac, encode_limited
from .containers import check_rate, open_media, upright
from .enlarge import enlarge, watchable_factor
from .sound import Samples, layout_of
from .watermark import add_label

MAX_FPS = 1000
MAX_BYTES = 2**31  # of decoded frames in 8 bits
CRF = "14"


def check_finite(clip: Clip) -> None:
    """Refuse a clip that no file can hold.

    Raises:
        ValueError: values that are not finite.
    """
    if not (torch.isfinite(clip.frames).all() and torch.isfinite(clip.waveform).all()):
        raise ValueError(
            "The clip contains values that are not finite, so it was not written. Sample again with a lower guidance scale or more steps."
        )


def write_mp4(path: Path, clip: Clip, *, metadata: dict[str, Any] | None = None, label: str = "") -> None:
    """Write a clip as H.264 (yuv420p) and AAC at its own rates. The file is written atomically. Small clips are enlarged to be comfortable
    to watch, and ``label`` is drawn in the corner.

    The audio is cut or padded to the duration of the video, so that the two differ by less than one AAC frame, and its true
    peak after encoding is at most -1 dB. Each entry of ``metadata`` is written into the container as JSON.

    Raises:
        ValueError: values that are not finite, or a folder that cannot be written to.
        OSError: the disk is full.
    """
    check_finite(clip)
    write_parts(path, [clip], metadata=metadata, label=label)


def write_parts(
    path: Path, parts: Iterable[Clip], *, metadata: dict[str, Any] | None = None, label: str = ""
) -> tuple[int, int]:
    """Write consecutive ``parts`` of a clip, at least one, as ``write_mp4`` does, with memory for one of them; their frames may be in 8
    bits. Returns the numbers of frames and of samples per channel that the parts had."""
    with (
        atomic_output(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart+use_metadata_tags"}) as container,
    ):
        container.metadata.update({key: json.dumps(value) for key, value in (metadata or {}).items()})
        return _write_streams(container, iter(parts), label)


def _write_streams(container: av.container.OutputContainer, parts: Iterator[Clip], label: str) -> tuple[int, int]:
    first = next(parts)
    height, width = first.frames.shape[1:3]
    factor, fps, rate = watchable_factor(height, width), Fraction(first.fps).limit_denominator(1001), first.sample_rate
    video = container.add_stream("libx264", rate=fps, options={"crf": CRF, "preset": "medium"})
    video.height, video.width = factor * height, factor * width
    video.pix_fmt = "yuv420p"
    audio = add_aac(container, rate=rate, layout=layout_of(first.waveform))
    count = 0
    with StoredSound(len(first.waveform)) as sound:
        for part in chain([first], parts):
            check_finite(part)
            sound.add(part.waveform)
            count += len(part.frames)
            for picture in part.frames.split(
                1
            ):  # enlarged one at a time, so that memory does not grow with the duration
                container.mux(video.encode(_picture(picture, factor, label)))
        container.mux(video.encode(None))
        encode_limited(container, audio, sound, samples=round(count / fps * rate))
        return count, sound.samples


def _picture(picture: Tensor, factor: int, label: str) -> av.VideoFrame:
    """One frame [1, h, w, 3], in 0..1 or in 8 bits, as it is encoded."""
    shown = picture.float() / 255 if picture.dtype == torch.uint8 else picture
    pixels = add_label(enlarge(shown, factor), label)[0].clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    return av.VideoFrame.from_ndarray(pixels.numpy(), format="rgb24")


def read_mp4(path: Path) -> Clip:
    """Frames and waveform of a media file.

    Raises:
        ValueError: not a readable media file, a stream is missing or empty, or the frames need more than ``MAX_BYTES``.
    """
    with open_media(path) as container:
        if not container.streams.video or not container.streams.audio:
            raise ValueError(
                f"{path} has {len(container.streams.video)} video and {len(container.streams.audio)} audio streams; both are required."
            )
        fps = float(container.streams.video[0].average_rate or 0)
        rate = check_rate(path, container.streams.audio[0].rate)
        if not 0 < fps <= MAX_FPS:
            raise ValueError(
                f"{path}: the frame rate is {fps:g}; it must be from 0 to {MAX_FPS} frames per second. Re-encode the file."
            )
        pictures: list[Tensor] = []
        sound = Samples(path, av.AudioResampler(format="flt"))
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                pictures.append(upright(frame))
                _check_pictures(path, pictures)
            else:
                sound.add(frame)
    if not pictures:
        raise ValueError(f"{path}: the video stream is empty.")
    return Clip(torch.stack(pictures).float() / 255, fps, sound.waveform(), rate)


def _check_pictures(path: Path, pictures: list[Tensor]) -> None:
    """Refuse a clip whose decoded frames need more than ``MAX_BYTES`` or change their size."""
    if len(pictures) * pictures[0].numel() > MAX_BYTES:
        raise ValueError(
            f"{path}: its decoded frames need more than {MAX_BYTES / 1e9:.1f} GB. Shorten the clip or scale it down."
        )
    if pictures[-1].shape != pictures[0].shape:
        raise ValueError(f"{path}: the size of the frames changes within the file. Re-encode it.")
