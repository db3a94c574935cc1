"""Which parts of a clip are kept (a stream, single frames or a range of seconds) while the rest is regenerated.

Letters: b batch, n latent frames of a stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .streams import Latents, Streams

VIDEO, AUDIO = "video", "audio"
FIRST, ENDS, RANGE, OUTSIDE = "first frame", "first and last frame", "a range of seconds", "all but a range"
FIRST_AND_AUDIO, ENDS_AND_AUDIO = "first frame and audio", "first and last frame and audio"
KEEPS = (VIDEO, AUDIO, FIRST, ENDS, FIRST_AND_AUDIO, ENDS_AND_AUDIO, RANGE, OUTSIDE)


@dataclass(frozen=True)
class KeepMask:
    """Clean latents and, for each stream, which of its latent frames are regenerated (1) and which are kept (0)."""

    latents: Latents
    regenerate: Streams[Float[Tensor, "b n"]]

    def rows(self, rows: slice) -> KeepMask:
        """The mask of the clips in ``rows`` of the batch."""
        return KeepMask(self.latents.map(lambda z: z[rows]), self.regenerate.map(lambda r: r[rows]))


def regenerated_frames(
    keep: str, frames: Streams[int], *, seconds: float, start: float = 0.0, end: float = 0.0
) -> Streams[Float[Tensor, " n"]]:
    """Which latent frames are regenerated (1) and which are kept (0) under the option ``keep``, one of ``KEEPS``.

    ``frames`` counts the latent frames of each stream; ``start`` and ``end`` bound a range within a clip of ``seconds``. A latent frame
    belongs to the range if its centre lies inside.

    Raises:
        ValueError: ``keep`` is unknown, or the range is empty, outside the clip, or leaves nothing to regenerate.
    """
    if keep not in KEEPS:
        raise ValueError(f"keep is {keep!r}; it must be one of {', '.join(KEEPS)}.")
    regenerate = frames.map(lambda n: torch.ones(n))
    video, audio = regenerate.both()
    if keep in (RANGE, OUTSIDE):
        if not 0 <= start < end <= seconds:
            raise ValueError(
                f"The range is {start:g} to {end:g} s; it must start before it ends and lie within the clip, 0 to {seconds:g} s."
            )
        for flags in (video, audio):
            centre = (torch.arange(len(flags)) + 0.5) * seconds / len(flags)
            flags[((centre >= start) & (centre < end)) == (keep == RANGE)] = 0
    if keep == VIDEO:
        video.zero_()
    if keep in (FIRST, FIRST_AND_AUDIO, ENDS, ENDS_AND_AUDIO):
        video[[0, -1] if keep in (ENDS, ENDS_AND_AUDIO) else [0]] = 0
    if keep in (AUDIO, FIRST_AND_AUDIO, ENDS_AND_AUDIO):
        audio.zero_()
    if not any(flags.any() for flags in (video, audio)):
        raise ValueError("Both streams are kept completely, so nothing is left to regenerate. Keep less.")
    return regenerate


def expand_over_latent(flags: Float[Tensor, "b n"], latent: Tensor) -> Tensor:
    """``flags`` [b, n] reshaped to [b, 1, n, 1, ...], so that they broadcast over a latent [b, c, n, ...]."""
    return flags.view(len(flags), 1, flags.shape[1], *[1] * (latent.ndim - 3))
