"""What a clip begins with: streams, frames or seconds that are given and kept, while the rest is made.

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
KEEPS = (VIDEO, AUDIO, FIRST, ENDS, RANGE, OUTSIDE)


@dataclass(frozen=True)
class KeepMask:
    """Clean latents, and of each stream which of its latent frames are made (1) and which are kept (0)."""

    latents: Latents
    regenerate: Streams[Float[Tensor, "b n"]]

    def rows(self, rows: slice) -> KeepMask:
        """What is given for some of the clips."""
        return KeepMask(self.latents.map(lambda z: z[rows]), self.regenerate.map(lambda m: m[rows]))


def regenerated_frames(
    keep: str, frames: Streams[int], *, seconds: float, start: float = 0.0, end: float = 0.0
) -> Streams[Float[Tensor, " n"]]:
    """Which latent frames are made (1) when ``keep`` is kept; ``start`` and ``end`` bound a range in a clip of ``seconds``. A latent
    frame lies in a range that its middle lies in.

    Raises:
        ValueError: ``keep`` is unknown, or the range is empty, not in the clip, or leaves nothing to make.
    """
    if keep not in KEEPS:
        raise ValueError(f"keep is {keep!r}; it must be one of {', '.join(KEEPS)}.")
    made = frames.map(lambda n: torch.ones(n))
    video, audio = made.both()
    if keep in (VIDEO, AUDIO):
        (video if keep == VIDEO else audio).zero_()
    elif keep in (FIRST, ENDS):
        video[[0] if keep == FIRST else [0, -1]] = 0
    else:
        if not 0 <= start < end <= seconds:
            raise ValueError(
                f"The range is {start:g} to {end:g} s; it must begin before it ends and lie in the clip, 0 to {seconds:g} s."
            )
        for m in (video, audio):
            middle = (torch.arange(len(m)) + 0.5) * seconds / len(m)
            m[((middle >= start) & (middle < end)) == (keep == RANGE)] = 0
    if not any(m.any() for m in (video, audio)):
        raise ValueError("All of both streams is kept, so that nothing is left to make. Keep less.")
    return made


def expand_over_latent(made: Float[Tensor, "b n"], latent: Tensor) -> Tensor:
    """[b, n] frames over a latent [b, c, n, ...]."""
    return made.view(*made.shape[:1], 1, made.shape[1], *[1] * (latent.ndim - 3))
