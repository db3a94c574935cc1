"""AAC encoding with a bounded true peak: the codec itself can raise peaks, by a few tenths of a dB for music and by more for noise."""

from __future__ import annotations

import io
import math

import av
import torch
from jaxtyping import Float
from torch import Tensor

from .containers import samples_of
from .limiter import CEILING, limit_peaks, true_peaks
from .sound import layout_of, packed_frame

BITS = 192_000  # bits per second
TRIES = 5
STEP = 0.1  # dB below the excess that was measured, because a quieter signal is encoded differently
QUIET = -6.0  # dB: a quieter signal is not tried, because AAC would have to raise its peaks by 5 dB


def add_aac(container: av.container.OutputContainer, *, rate: int, layout: str) -> av.AudioStream:
    """A new audio stream of ``container``."""
    stream = container.add_stream("aac", rate=rate, layout=layout)
    stream.bit_rate = BITS
    return stream


def encode(container: av.container.OutputContainer, stream: av.AudioStream, sound: Float[Tensor, "channels n"]) -> None:
    """Encode all of ``sound`` into ``stream``."""
    frame = packed_frame(sound)
    frame.sample_rate, frame.pts = stream.rate, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def limited_for_aac(sound: Float[Tensor, "channels n"], *, sample_rate: int) -> Float[Tensor, "channels n"]:
    """``sound`` limited so far that its true peak is at most -1 dB after encoding and decoding."""
    ceiling, limited = CEILING, limit_peaks(sound, sample_rate=sample_rate)
    if not limited.shape[1] or _peak(limited) < QUIET:
        return limited
    for _ in range(TRIES):
        excess = _peak(_decoded(limited, sample_rate)) - CEILING
        if excess <= 0:
            break
        ceiling -= excess + STEP
        limited = limit_peaks(sound, sample_rate=sample_rate, ceiling=ceiling)
    return limited


def _peak(sound: Tensor) -> float:
    return 20 * math.log10(max(1e-9, float(true_peaks(sound).amax())))


def _decoded(sound: Tensor, sample_rate: int) -> Tensor:
    """What a player hears of ``sound`` encoded as in a file."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        encode(container, add_aac(container, rate=sample_rate, layout=layout_of(sound)), sound)
    file.seek(0)
    resampler = av.AudioResampler(format="flt")
    with av.open(file, format="mp4") as container:
        parts = [samples_of(part) for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return torch.cat(parts, dim=1)
