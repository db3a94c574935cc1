"""Conversions between seconds, frames and latent frames in each version of JavisDiT."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...core.sizes import ClipSpec
from ...core.streams import Streams
from ...guidance.timed import Edges, latent_edges

AUDIO_CHANNELS = 8  # channels of AudioLDM2's latents


@dataclass(frozen=True)
class JavisClock:
    """The clip sizes of one version of JavisDiT. Frames are encoded in groups, after leading frames with a latent frame each."""

    fps: int
    group_frames: int
    leading_frames: int
    group_latents: int  # latent frames of one group
    min_groups: int  # the official schedule is not defined for fewer
    channels: int
    even_sides: bool  # whether latent rows and columns are rounded up to even numbers, or down to integers

    def frames(self, seconds: float, fps: int) -> int:
        """The smallest permitted number of frames that lasts at least ``seconds``."""
        groups = math.ceil(round(seconds * fps - self.leading_frames, 6) / self.group_frames)
        return max(self.min_groups, groups) * self.group_frames + self.leading_frames

    def video_latent(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Channels, latent frames, rows and columns of the video latent."""
        rows, columns = (-(-side // 16) * 2 if self.even_sides else side // 8 for side in (height, width))
        groups = (frames - self.leading_frames) // self.group_frames
        return self.channels, groups * self.group_latents + self.leading_frames, rows, columns

    def clip_of(self, latent: tuple[int, ...]) -> ClipSpec:
        """The clip that a video latent [channels, t, h, w] decodes to, at the version's own frame rate."""
        t, rows, columns = latent[-3:]
        frames = (t - self.leading_frames) // self.group_latents * self.group_frames + self.leading_frames
        return ClipSpec(rows * 8, columns * 8, frames, self.fps)

    def edges(self, video: int, audio: int, *, fps: int = 0) -> Streams[Edges]:
        """Boundaries of the latent frames of both streams in seconds, at ``fps`` (0: the version's own frame rate). The first latent frame
        of a group covers a single frame where a group has leading frames or more latent frames than whole strides (17 frames in five)."""
        stride = -(-self.group_frames // self.group_latents)
        single = self.group_frames - stride * (self.group_latents - 1)
        each = (single, *[stride] * (self.group_latents - 1))
        frames = latent_edges(video, leading=(1,) * self.leading_frames, each=each, rate=float(fps or self.fps))
        return Streams(frames, latent_edges(audio, each=(4,), rate=100.0))

    def audio_latent(self, frames: int, fps: int) -> tuple[int, int, int]:
        """Channels, latent frames and bins of the audio latent: 100 mel frames per second, padded to a multiple of 32, four each."""
        return AUDIO_CHANNELS, -(-(frames * 100 // fps) // 32) * 8, 16


V01_CLOCK = JavisClock(
    fps=24, group_frames=17, leading_frames=0, group_latents=5, min_groups=1, channels=4, even_sides=False
)
V10_CLOCK = JavisClock(
    fps=16, group_frames=4, leading_frames=1, group_latents=1, min_groups=4, channels=16, even_sides=True
)
