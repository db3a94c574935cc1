"""How each version of JavisDiT converts between seconds, frames and latent frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...core.sizes import ClipSpec

AUDIO_CHANNELS = 8  # of AudioLDM2's latents


@dataclass(frozen=True)
class JavisClock:
    """How a version of JavisDiT counts: frames come in groups, behind single ones that are latent frames by themselves."""

    fps: int
    group: int  # frames that are encoded together
    single: int  # frames before the first group
    latents: int  # latent frames of a group
    least: int  # groups below which the official schedule has no value
    channels: int
    even: bool  # whether latent rows and columns are rounded up to even numbers, or down to whole ones

    def frames(self, seconds: float, fps: int) -> int:
        """The fewest frames of whole groups that last ``seconds``."""
        groups = math.ceil(round(seconds * fps - self.single, 6) / self.group)
        return max(self.least, groups) * self.group + self.single

    def video(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Channels, latent frames, rows and columns."""
        rows, columns = (-(-side // 16) * 2 if self.even else side // 8 for side in (height, width))
        return self.channels, (frames - self.single) // self.group * self.latents + self.single, rows, columns

    def asked(self, latent: tuple[int, ...]) -> ClipSpec:
        """The clip that a video latent [channels, t, h, w] of unknown origin stands for."""
        t, rows, columns = latent[-3:]
        return ClipSpec(rows * 8, columns * 8, (t - self.single) // self.latents * self.group + self.single, self.fps)

    def audio(self, frames: int, fps: int) -> tuple[int, int, int]:
        """Channels, latent frames and bins: 100 mel frames a second, filled to a multiple of 32, four to a latent frame."""
        return AUDIO_CHANNELS, -(-(frames * 100 // fps) // 32) * 8, 16


V01_CLOCK = JavisClock(fps=24, group=17, single=0, latents=5, least=1, channels=4, even=False)
V10_CLOCK = JavisClock(fps=16, group=4, single=1, latents=1, least=4, channels=16, even=True)
