"""AV-Align (Yariv et al., TempoTokens, 2023) in its two published forms, computed from the peaks of the meter's onset traces.

Included for comparison. AV-Align has the resolution of one frame and does not distinguish early from late audio. The published code
detects peaks with librosa's onsets and Farneback's optical flow; the peaks here are different, so the numbers must not be compared
with published ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from .onsets import TICKS
from .peaks import local_maxima

MIN_SHARE = 0.1  # of the highest peak; lower peaks are ignored
PEAK_DISTANCE = 0.1  # least distance between peaks in seconds


def peaks(trace: Float[Tensor, " n"]) -> list[float]:
    """Times in seconds of the peaks of a trace with ``TICKS`` values per second."""
    found = local_maxima(trace, reach=round(PEAK_DISTANCE * TICKS)) & (trace > MIN_SHARE * trace.max()) & (trace > 0)
    return [(i + 0.5) / TICKS for i in found.nonzero().flatten().tolist()]


def av_align_code(audio: Sequence[float], video: Sequence[float], *, frame_seconds: float) -> float:
    """Intersection over union as the published code computes it: the number of audio peaks less than one frame from a video peak,
    divided by all peaks minus that number. A video peak can match several audio peaks, so the score can exceed 1."""
    hits = sum(any(p - frame_seconds < time < p + frame_seconds for p in video) for time in audio)
    union = len(audio) + len(video) - hits
    return hits / union if union else 0.0


def av_align_paper(audio: Sequence[float], video: Sequence[float], *, frame_seconds: float) -> float:
    """The equation of the paper: the share of peaks of both streams with a peak of the other stream at most one frame away."""

    def matched(a: Sequence[float], b: Sequence[float]) -> int:
        return sum(any(abs(x - y) <= frame_seconds for y in b) for x in a)

    total = len(audio) + len(video)
    return (matched(audio, video) + matched(video, audio)) / total if total else 0.0
