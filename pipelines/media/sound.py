"""Waveforms: reading, resampling, channel layouts, cutting and padding."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import av
import torch
from jaxtyping import Float
from torch import Tensor

from ..core.files import atomic_output
from .containers import AudioClock, check_rate, open_media, samples_of
from .limiter import limit_peaks

MAX_SAMPLES = 2**28  # values of a waveform, all channels: 46 minutes in stereo at 48 kHz
# Number of channels -> PyAV's name of the layout.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def resample(waveform: Float[Tensor, "channels samples"], *, rate: int, to: int) -> Float[Tensor, "2 resampled"]:
    """``waveform`` resampled from ``rate`` to ``to`` samples per second and mixed to stereo.

    Raises:
        ValueError: more than eight channels.
    """
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=to)
    frame = packed_frame(waveform)
    frame.sample_rate = rate
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return torch.cat([torch.from_numpy(part.to_ndarray()) for part in parts], dim=1)


class Samples:
    """The samples of an audio stream between ``start`` and ``start + seconds``, collected as its frames are decoded.

    Raises:
        ValueError: more than ``MAX_SAMPLES``, or the number of channels or the sample rate changes.
    """

    def __init__(
        self, path: Path, resampler: av.AudioResampler, *, start: float | int = 0.0, seconds: float | int = math.inf
    ) -> None:
        self.path, self.resampler, self.start, self.seconds = path, resampler, start, seconds
        self.parts: list[Tensor] = []
        self.seen = self.kept = 0  # samples per channel that were decoded, and values that are kept
        self.begin: float | None = None  # seconds at which the stream begins
        self.clock, self.silent = AudioClock(path), 0.0  # seconds of silence that are due before the next samples

    def add(self, frame: av.AudioFrame | None) -> None:
        """Keep the samples of ``frame`` that lie in the range, after silence where the file has a gap; None flushes the resampler."""
        self.silent += 0.0 if frame is None else self.clock.missing(frame)
        if frame is not None and self.begin is None:
            self.begin = frame.time or 0.0
        try:
            parts = self.resampler.resample(frame)
        except ValueError as error:
            raise ValueError(f"{self.path}: the format of the audio changes within the file. Re-encode it.") from error
        for part in parts:
            rate = part.sample_rate
            samples = torch.nn.functional.pad(samples_of(part), (round(self.silent * rate), 0))
            self.silent = 0.0
            first, self.seen = self.seen, self.seen + samples.shape[1]
            last = math.inf if self.seconds == math.inf else round(self.start * rate) + round(self.seconds * rate)
            piece = samples[
                :, max(0, round(self.start * rate) - first) : int(min(samples.shape[1], max(0, last - first)))
            ]
            self.kept += piece.numel()
            self.parts += [piece] if piece.shape[1] else []
        if self.kept > MAX_SAMPLES:
            raise ValueError(f"{self.path}: the audio has more than {MAX_SAMPLES} samples. Cut it into shorter files.")

    def complete(self, rate: int) -> bool:
        """Whether all samples of the range were decoded."""
        return self.seen >= (self.start + self.seconds) * rate

    def waveform(self) -> Float[Tensor, "channels samples"]:
        """The samples in the range.

        Raises:
            ValueError: there are none.
        """
        if not self.parts:
            raise ValueError(f"{self.path}: the audio stream is empty.")
        return torch.cat(self.parts, dim=1)


def packed_frame(waveform: Float[Tensor, "channels samples"]) -> av.AudioFrame:
    """All samples as one frame, interleaved: PyAV writes planar samples of at most seven channels.

    Raises:
        ValueError: more than eight channels.
    """
    samples = waveform.float().cpu().T.reshape(1, -1).contiguous().numpy()
    return av.AudioFrame.from_ndarray(samples, format="flt", layout=layout_of(waveform))


def read_sound(
    path: Path, *, start: float | int = 0.0, seconds: float | int = math.inf
) -> tuple[Float[Tensor, "channels samples"], int]:
    """The waveform of a media file between ``start`` and ``start + seconds`` and its sample rate, with the file's own channels.

    Raises:
        ValueError: not a readable media file, no audio there, or a sample rate out of range.
    """
    sound = Samples(path, av.AudioResampler(format="flt"), start=start, seconds=seconds)
    with open_media(path) as container:
        if not container.streams.audio:
            raise ValueError(f"{path} has no audio stream.")
        rate = check_rate(path, container.streams.audio[0].rate)
        for frame in container.decode(audio=0):
            sound.add(frame)
            if sound.complete(rate):
                break
    if sound.seen and not sound.parts:
        raise ValueError(f"{path} lasts {sound.seen / rate:.2f} s, which is less than {start:g} s.")
    return sound.waveform(), rate


def write_wav(path: Path, waveform: Float[Tensor, "channels samples"], sample_rate: int) -> None:
    """Write ``waveform``, in -1..1, as a 16-bit WAV file with a true peak of at most -1 dB. The file is written atomically."""
    limited = limit_peaks(waveform.detach().cpu().float(), sample_rate=sample_rate)
    pcm = (limited * 32767).round().to(torch.int16)
    with atomic_output(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(len(pcm))
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(pcm.T.contiguous().numpy().tobytes())


def fit_sound(
    waveform: Float[Tensor, "channels samples"], *, seconds: float, sample_rate: int
) -> Float[Tensor, "channels fitted"]:
    """``waveform`` cut or padded with silence to ``seconds``, and scaled down if its peak exceeds 1."""
    fitted = fit_length(waveform, seconds=seconds, sample_rate=sample_rate)
    return fitted / fitted.abs().amax().clamp_min(1.0)


def fit_length(
    waveform: Float[Tensor, "channels samples"], *, seconds: float, sample_rate: int
) -> Float[Tensor, "channels fitted"]:
    """``waveform`` cut or padded with silence to ``seconds``, at its own level."""
    wanted = round(seconds * sample_rate)
    return torch.nn.functional.pad(waveform[:, :wanted].float(), (0, max(0, wanted - waveform.shape[1])))


def shift_sound(waveform: Float[Tensor, "*n samples"], *, samples: int) -> Float[Tensor, "*n samples"]:
    """``waveform`` moved earlier by ``samples`` (later if negative), at the same length; the gap is filled with silence."""
    count = waveform.shape[-1]
    by = max(-count, min(count, samples))
    return torch.nn.functional.pad(waveform[..., max(0, by) : count + min(0, by)], (max(0, -by), max(0, by)))


def layout_of(waveform: Float[Tensor, "channels samples"]) -> str:
    """PyAV's name of the channel layout.

    Raises:
        ValueError: more than eight channels.
    """
    if waveform.shape[0] not in LAYOUTS:
        raise ValueError(
            f"The audio has {waveform.shape[0]} channels; at most {max(LAYOUTS)} are supported. Mix it down first."
        )
    return LAYOUTS[waveform.shape[0]]
