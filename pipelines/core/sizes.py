"""Sizes of clips: the only place that converts between seconds, frames, latent frames, samples and tokens.

Both streams share one clock. A video latent frame covers ``VIDEO_STRIDE[0]`` frames, an audio latent frame covers
``MEL_HOP * MEL_STRIDE`` samples, and a token's time is the centre, in seconds, of the span it covers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .streams import Streams

VIDEO_STRIDE = (4, 8, 8)  # frames, rows, columns behind one latent cell
MEL_HOP = 250  # samples between mel frames: 64 a second at 16 kHz, four to a video frame at 16 fps
MEL_STRIDE = 4  # mel frames behind one audio latent frame
VIDEO_PATCH = 4  # latent rows and columns in one token
PIXEL_STEP = VIDEO_STRIDE[1] * VIDEO_PATCH  # heights and widths are multiples of it
MAX_SECONDS = 30.0
MAX_PIXELS = 1024


@dataclass(frozen=True)
class ClipShape:
    """Size of a clip: seconds, frames per second, pixels and samples per second.

    Raises:
        ValueError: a value outside its range.
    """

    seconds: float = 2.0
    fps: int = 16
    height: int = 64
    width: int = 64
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        frames = VIDEO_STRIDE[0]
        if not 0 < self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds is {self.seconds}; it must lie in (0, {MAX_SECONDS:g}]. Choose another length.")
        if self.fps < 1 or self.sample_rate < 1:
            raise ValueError(f"fps is {self.fps} and sample_rate {self.sample_rate}; both must be at least 1.")
        for name, value in (("height", self.height), ("width", self.width)):
            if value % PIXEL_STEP or not PIXEL_STEP <= value <= MAX_PIXELS:
                raise ValueError(
                    f"{name} is {value}; it must be a multiple of {PIXEL_STEP} from {PIXEL_STEP} to {MAX_PIXELS}."
                )
        if self.frames < frames:
            raise ValueError(
                f"seconds is {self.seconds}; at {self.fps} fps a clip needs at least {frames / self.fps:g} s."
            )

    @property
    def frames(self) -> int:
        """Frames, rounded down to whole latent frames."""
        return round(self.seconds * self.fps) // VIDEO_STRIDE[0] * VIDEO_STRIDE[0]

    @property
    def duration(self) -> float:
        """Duration of the frames in seconds; both streams are cut to it."""
        return self.frames / self.fps

    @property
    def samples(self) -> int:
        """Samples per channel."""
        return round(self.duration * self.sample_rate)

    @property
    def video_latent(self) -> tuple[int, int, int]:
        """Latent frames, rows and columns."""
        frames, rows, columns = VIDEO_STRIDE
        return self.frames // frames, self.height // rows, self.width // columns

    @property
    def audio_latent(self) -> int:
        """Audio latent frames, rounded up so that they cover every sample."""
        return -(-self.samples // (MEL_HOP * MEL_STRIDE))


def latent_times(count: int, seconds_each: float) -> Float[Tensor, " count"]:
    """Centres of ``count`` latent frames that last ``seconds_each``, in seconds."""
    return (torch.arange(count, dtype=torch.float32) + 0.5) * seconds_each


def video_latent_seconds(fps: int) -> float:
    """Duration of a video latent frame in seconds."""
    return VIDEO_STRIDE[0] / fps


def audio_latent_seconds(sample_rate: int) -> float:
    """Duration of an audio latent frame in seconds."""
    return MEL_HOP * MEL_STRIDE / sample_rate


def latent_frame_of(tokens: int, frames: int) -> Tensor:
    """The latent frame f(j) = floor(j * frames / tokens) that contains token j, for each of ``tokens``."""
    return torch.arange(tokens) * frames // tokens


def segments(latents: Streams[Tensor], frames: int) -> Streams[Tensor]:
    """Clips [b, c, t, ...] split into n segments of ``frames`` video latent frames, in order: [(b n), c, t / n, ...].

    Raises:
        ValueError: the length of a clip is not a multiple of ``frames``.
    """
    video, _ = latents.both()
    pieces, rest = divmod(video.shape[2], frames)
    if rest:
        raise ValueError(f"Clips of {video.shape[2]} latent frames cannot be split into segments of {frames}.")
    return latents.map(lambda z: z.unflatten(2, (pieces, -1)).transpose(1, 2).flatten(0, 1))


@dataclass(frozen=True)
class ClipSpec:
    """Size of the clip that a latent encodes. The official schedule depends on it, and the latent's own size does not determine it."""

    height: int
    width: int
    frames: int
    fps: int
