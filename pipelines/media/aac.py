"""AAC encoding with a bounded true peak: the codec itself can raise peaks, by a few tenths of a dB for music and by more for noise."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator

import av
import torch
from jaxtyping import Float
from torch import Tensor

from .containers import samples_of
from .limiter import CEILING, REACH, limit_peaks, true_peaks
from .sound import LAYOUTS, packed_frame

BITS = 192_000  # bits per second
TRIES = 5
STEP = 0.1  # dB below the excess that was measured, because a quieter signal is encoded differently
CHUNK, CONTEXT = 1 << 17, 1 << 12  # samples that are limited at once, and those around them that are read too
IN_MEMORY = 1 << 26  # bytes of a stored waveform
QUIET = -6.0  # dB: a quieter signal is not tried, because AAC would have to raise its peaks by 5 dB


def add_aac(container: av.container.OutputContainer, *, rate: int, layout: str) -> av.AudioStream:
    """A new audio stream of ``container``."""
    stream = container.add_stream("aac", rate=rate, layout=layout)
    stream.bit_rate = BITS
    return stream


class StoredSound:
    """A waveform in a file that is deleted when the block ends, so that memory does not grow with its length; short ones stay in memory."""

    def __init__(self, channels: int) -> None:
        self.channels, self.samples = channels, 0
        self.file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed with the block

    def __enter__(self) -> StoredSound:
        return self

    def __exit__(self, *_error: object) -> None:
        self.file.close()

    def add(self, part: Float[Tensor, "channels n"]) -> None:
        """Append ``part``."""
        self.file.seek(0, io.SEEK_END)
        self.file.write(part.detach().float().cpu().T.contiguous().numpy().tobytes())
        self.samples += part.shape[1]

    def read(self, start: int, stop: int) -> Float[Tensor, "channels n"]:
        """Samples ``start`` to ``stop``; silence after the end."""
        each = self.channels * torch.float32.itemsize
        self.file.seek(min(start, self.samples) * each)
        data = bytearray(self.file.read((stop - start) * each))
        found = torch.frombuffer(data, dtype=torch.float32) if data else torch.zeros(0)
        sound = found.reshape(-1, self.channels).T
        return torch.nn.functional.pad(sound, (0, stop - start - sound.shape[1]))


def encode_limited(
    container: av.container.OutputContainer, stream: av.AudioStream, sound: StoredSound, *, samples: int
) -> None:
    """Encode ``samples`` of ``sound``, with silence after its end, limited so far that its true peak is at most -1 dB after encoding and
    decoding."""
    rate, ceiling = stream.rate, CEILING
    if samples and max(map(peak_level, _limited(sound, samples, rate, ceiling))) >= QUIET:
        ceiling = safe_ceiling(lambda tried: _decoded_peak(_limited(sound, samples, rate, tried), rate, sound.channels))
    _encode(container, stream, _limited(sound, samples, rate, ceiling))


def safe_ceiling(decoded: Callable[[float], float]) -> float:
    """The true peak, in dB, to which audio is limited so that it is at most -1 dB after encoding and decoding; ``decoded`` gives the
    true peak after that of audio limited to a ceiling."""
    ceiling = CEILING
    for _ in range(TRIES):
        excess = decoded(ceiling) - CEILING
        if excess <= 0:
            break
        ceiling -= excess + STEP
    return ceiling


def _limited(sound: StoredSound, samples: int, rate: int, ceiling: float) -> Iterator[Float[Tensor, "channels n"]]:
    """The limited sound in chunks; each is limited with its neighbourhood."""
    for start in range(0, samples, CHUNK):
        stop, before = min(samples, start + CHUNK), min(start, CONTEXT)
        part = sound.read(start - before, min(samples, stop + CONTEXT))
        yield limit_peaks(part, sample_rate=rate, ceiling=ceiling)[:, before : before + stop - start]


def _encode(
    container: av.container.OutputContainer, stream: av.AudioStream, parts: Iterable[Float[Tensor, "channels n"]]
) -> None:
    """Encode all ``parts`` into ``stream``."""
    at = 0
    for part in parts:
        frame = packed_frame(part)
        frame.sample_rate, frame.pts = stream.rate, at
        at += part.shape[1]
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def peak_level(sound: Float[Tensor, "channels n"]) -> float:
    """True peak in dB relative to full scale."""
    return 20 * math.log10(max(1e-9, float(true_peaks(sound).amax())))


def _decoded_peak(parts: Iterable[Tensor], rate: int, channels: int) -> float:
    """The true peak, in dB, of what a player hears of ``parts`` encoded as in a file."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        with av.open(file, "w", format="mp4") as container:
            _encode(container, add_aac(container, rate=rate, layout=LAYOUTS[channels]), parts)
        file.seek(0)
        resampler, highest, tail = av.AudioResampler(format="flt"), -math.inf, torch.zeros(channels, 0)
        with av.open(file, "r", format="mp4") as container:
            for frame in container.decode(audio=0):
                heard = torch.cat([tail, *(samples_of(part) for part in resampler.resample(frame))], dim=1)
                highest, tail = max(highest, peak_level(heard)), heard[:, -2 * REACH :]
    return highest
