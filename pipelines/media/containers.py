"""Opening media files with PyAV, and the limits on what a file may claim."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import av
import torch
from jaxtyping import Float, Int16, UInt8
from torch import Tensor

# The names that FFmpeg gives to the containers that are read. Playlists are not among them: they name other local files.
CONTAINERS = (
    *(
        "mov",
        "mp4",
        "m4a",
        "3gp",
        "3g2",
        "mj2",
        "matroska",
        "webm",
        "avi",
        "flv",
        "asf",
        "mpeg",
        "mpegts",
        "mpegvideo",
        "ogg",
        "mxf",
    ),
    *(
        "nut",
        "ivf",
        "y4m",
        "yuv4mpegpipe",
        "gif",
        "apng",
        "wav",
        "w64",
        "flac",
        "mp3",
        "aac",
        "ac3",
        "aiff",
        "au",
        "caf",
    ),
    *(
        f"{image}_pipe"
        for image in ("png", "jpeg", "webp", "bmp", "tiff", "gif", "j2k", "jpegxl", "dpx", "exr", "ppm", "pgm")
    ),
)
MAX_PIXELS = 2**26  # of a frame or image, twice that of 8K video
MAX_SECONDS = 1200.0  # of a file that is read as a whole
MAX_FRAMES = 2_000_000  # decoded from one file: nine hours at 60 frames per second
MAX_GAP = 60.0  # seconds between successive frames, or between the beginnings of video and audio
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # audio samples per second


@contextmanager
def open_media(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a media file for reading: a file on this computer in one of ``CONTAINERS``, with frames of at most ``MAX_PIXELS``.

    Raises:
        ValueError: the file cannot be read as a media file, when opened or later, while the context is active.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file. Check the path.")
    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    try:
        with av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace") as container:
            for stream in (*container.streams.video, *container.streams.audio):
                if stream.codec_context is None:
                    raise ValueError(
                        f"{path}: stream {stream.index} has an unknown codec. Re-encode the file, e.g. as mp4."
                    )
            for stream in container.streams.video:
                _limit_frames(path, stream)
            yield container
    except av.error.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(
            f"{path} cannot be read as a media file: {reason}. Use a complete file in a common format such as mp4, mkv, wav or png."
        ) from error


def _limit_frames(path: Path, stream: av.VideoStream) -> None:
    """Refuse frames of more than ``MAX_PIXELS``, and have the decoder refuse them if the size changes later."""
    if stream.width * stream.height > MAX_PIXELS:
        raise ValueError(
            f"{path}: its frames have {stream.width} x {stream.height} pixels; at most {MAX_PIXELS} pixels are supported. Scale it down."
        )
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}


def samples_of(frame: av.AudioFrame) -> Float[Tensor, "channels samples"] | Int16[Tensor, "channels samples"]:
    """The samples of a frame in a packed format ('flt' or 's16'). PyAV reads at most seven planes of planar formats and ends
    the process beyond them; a packed frame has one plane for any number of channels."""
    return torch.from_numpy(frame.to_ndarray()).reshape(-1, frame.layout.nb_channels).T.contiguous()


def upright(frame: av.VideoFrame) -> UInt8[Tensor, "h w 3"]:
    """The picture of a frame as it is meant to be shown: phones store portrait video sideways, with a rotation beside it."""
    picture = torch.from_numpy(frame.to_ndarray(format="rgb24"))
    return torch.rot90(picture, getattr(frame, "rotation", 0) // 90, (0, 1))  # PyAV before 14 does not read it


def check_rate(path: Path, rate: int) -> int:
    """The sample rate of a file.

    Raises:
        ValueError: outside ``LOWEST_RATE`` to ``HIGHEST_RATE``.
    """
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(
            f"{path}: the sample rate is {rate} Hz; it must be between {LOWEST_RATE} and {HIGHEST_RATE} Hz. Convert the audio to 48000 Hz."
        )
    return rate


def check_gap(path: Path, gap: float) -> None:
    """Check the time in seconds between two successive frames, or between the beginnings of video and audio.

    Raises:
        ValueError: more than ``MAX_GAP``.
    """
    if not abs(gap) <= MAX_GAP:
        raise ValueError(
            f"{path}: the timestamps have a gap of {abs(gap):g} s; at most {MAX_GAP:g} s are supported. Re-encode the file or cut the gap "
            "out."
        )


class AudioClock:
    """The silence that a file leaves out: seconds without samples between the timestamps of successive audio frames."""

    JUMP = 0.05  # seconds; less is rounding of timestamps or padding by an encoder

    def __init__(self, path: Path) -> None:
        self.path = path
        self.expected: float | None = None  # where the next frame begins if nothing is missing

    def missing(self, frame: av.AudioFrame) -> float:
        """Seconds of silence before ``frame``, 0 before the first one.

        Raises:
            ValueError: more than ``MAX_GAP``.
        """
        expected = self.expected
        time = frame.time if frame.time is not None else expected or 0.0
        self.expected = time + frame.samples / frame.sample_rate
        if expected is None or time - expected <= self.JUMP:
            return 0.0
        check_gap(self.path, time - expected)
        return time - expected


def check_times(path: Path, times: list[float], *, audio_start: float | None = None) -> None:
    """Check the times in seconds of video frames, and of the first audio sample if there is audio, before memory is allocated.

    Raises:
        ValueError: a gap of more than ``MAX_GAP`` seconds.
    """
    gaps = [after - before for before, after in pairwise(times)]
    if audio_start is not None:
        gaps.append(audio_start - (times[0] if times else 0.0))
    check_gap(path, max((abs(gap) for gap in gaps), default=0.0))
