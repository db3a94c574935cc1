"""Waveforms: reading, resampling, channel layouts, cutting and padding."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import torch
from jaxtyping import Float
from torch import Tensor

from ..core.files import atomic_output
from .containers import check_rate, open_media, samples_of
from .limiter import limit_peaks

# Number of channels -> PyAV's name of the layout.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def resample(waveform: Float[Tensor, "channels samples"], *, rate: int, to: int) -> Float[Tensor, "2 resampled"]:
    """``waveform`` resampled from ``rate`` to ``to`` samples per second and mixed to stereo.

    Raises:
        ValueError: more than eight channels.
    """
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=to)
    sounds = waveform.float().cpu().contiguous().numpy()
    frame = av.AudioFrame.from_ndarray(sounds, format="fltp", layout=layout_of(waveform))
    frame.sample_rate = rate
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return torch.cat([torch.from_numpy(part.to_ndarray()) for part in parts], dim=1)


def read_sound(path: Path) -> tuple[Float[Tensor, "channels samples"], int]:
    """The waveform of a media file and its sample rate, with the file's own channels.

    Raises:
        ValueError: not a readable media file, no audio, or a sample rate out of range.
    """
    resampler, sounds, rate = av.AudioResampler(format="flt"), [], 0
    with open_media(path) as container:
        if not container.streams.audio:
            raise ValueError(f"{path} has no audio stream.")
        rate = check_rate(path, container.streams.audio[0].rate)
        for frame in container.decode(audio=0):
            sounds += [samples_of(part) for part in resampler.resample(frame)]
    if not sounds:
        raise ValueError(f"{path}: the audio stream is empty.")
    return torch.cat(sounds, dim=1), rate


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
    wanted = round(seconds * sample_rate)
    fitted = torch.nn.functional.pad(waveform[:, :wanted].float(), (0, max(0, wanted - waveform.shape[1])))
    return fitted / fitted.abs().amax().clamp_min(1.0)


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
