"""AV-Align (Yariv et al., 2023, TempoTokens) in both forms that are in use, over peaks of the meter's own traces.

It cannot see what is smaller than a frame, nor tell early from late; it stands here to be compared with. The published code takes
librosa's onsets and Farneback's flow; with our peaks the numbers are ours and are not to be set beside published ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .meter import TICKS

SHARE = 0.1  # of the highest peak: what is lower is none
APART = 0.1  # seconds between peaks


def peaks(trace: Float[Tensor, " n"]) -> list[float]:
    """Times of local maxima of a trace on the common clock."""
    reach = round(APART * TICKS)
    highest = F.max_pool1d(trace[None], 2 * reach + 1, 1, reach)[0]
    found = (trace >= highest) & (trace > SHARE * trace.max()) & (trace > 0)
    return [(i + 0.5) / TICKS for i in found.nonzero().flatten().tolist()]


def av_align_code(sound: Sequence[float], picture: Sequence[float], *, frame_seconds: float) -> float:
    """Intersection over union as the published code counts it: sounds with a peak of the picture strictly within a frame, over all
    peaks less those. One peak of the picture may serve many sounds, so that the score can exceed 1."""
    hits = sum(any(p - frame_seconds < time < p + frame_seconds for p in picture) for time in sound)
    union = len(sound) + len(picture) - hits
    return hits / union if union else 0.0


def av_align_paper(sound: Sequence[float], picture: Sequence[float], *, frame_seconds: float) -> float:
    """The paper's equation: the share of peaks of either stream that have one of the other within a frame; a peak may serve many."""

    def met(a: Sequence[float], b: Sequence[float]) -> int:
        return sum(any(abs(x - y) <= frame_seconds for y in b) for x in a)

    total = len(sound) + len(picture)
    return (met(sound, picture) + met(picture, sound)) / total if total else 0.0
