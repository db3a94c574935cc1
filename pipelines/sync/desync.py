"""DeSync: the offset between audio and video over time, estimated by Synchformer with the user's weights.

The input follows the public evaluation (JavisBench and av-benchmark): 25 frames per second at 224 x 224 pixels, log-mel spectrograms of
16 kHz audio, segments of 0.64 s every 0.32 s, and 14 segments (4.8 s) for each estimate. Offsets are multiples of 0.2 s, at most 2 s.

Letters: s segments, n samples, m mel bands, t spectrogram frames, d channels, k classes.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..core.streams import Clip
from ..core.weights import read_tensors
from ..media.containers import open_media
from ..media.mel import mel_bank
from ..media.sound import resample
from .synchformer import CLASSES, FRAMES, MELS, SEGMENTS, SIDE, SPECTRA, Synchformer, SynchformerConfig, own_tensors

FPS, RATE = 25, 16_000
STEP = FRAMES // 2  # frames from one segment to the next
SAMPLES = FRAMES * RATE // FPS  # of a segment
N_FFT, WINDOW, HOP = 1024, 400, 160  # samples
MEAN, DEVIATION, FLOOR = -4.2677393, 4.5689974, 1e-6  # of the log spectrogram
SLIDE = SEGMENTS // 2  # segments from one estimate to the next
AUDIO_BATCH = 16  # segments encoded at once
SOURCE = "Download synchformer_state_dict.pth from release v0.1 of the GitHub repository hkchengrex/MMAudio"


@dataclass(frozen=True)
class WindowOffset:
    """The most likely offset from ``start`` to ``end``, all in seconds; positive if the audio is late. ``confidence`` is the probability
    that the offset is within one class (0.2 s) of it, 0..1."""

    start: float
    end: float
    offset: float
    confidence: float


@dataclass(frozen=True)
class Desync:
    """Synchformer's estimate for a clip: the offset of the mean of all windows, and each window. ``desync`` is the mean absolute offset of
    consecutive groups of 14 segments in seconds, as JavisBench reports it."""

    offset: float
    confidence: float
    desync: float
    windows: list[WindowOffset]

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        late = "" if not self.offset else " late" if self.offset > 0 else " early"
        found = f"audio {abs(self.offset) * 1000:.0f} ms{late} (confidence {self.confidence:.2f}, steps of 200 ms)"
        return f"Synchformer: {found}; DeSync {self.desync:.2f} s over {len(self.windows)} window(s)"


class DesyncMeter:
    """Synchformer on one device."""

    def __init__(self, network: Synchformer, device: str = "cpu") -> None:
        self.network, self.device = network.eval().requires_grad_(False).to(device), device

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> DesyncMeter:
        """The network with the weights in ``path``.

        Raises:
            ValueError: the file is missing, or does not hold exactly Synchformer's tensors.
        """
        return cls(load_synchformer(path), device)

    @torch.inference_mode()
    def measure(
        self, frames: Iterator[Float[Tensor, "3 h w"]], waveform: Float[Tensor, "channels n"] | None, sample_rate: int
    ) -> Desync:
        """The offset over time. ``frames`` are those of ``frames_of_clip`` or ``frames_of_file``, and start with the waveform.

        Raises:
            ValueError: no audio, or a stream that is shorter than one segment (0.64 s).
        """
        if waveform is None or not waveform.shape[1]:
            raise ValueError("Synchformer: the clip has no audio. It needs both streams.")
        audio = self._audio_features(mono(waveform, sample_rate))
        video = self._video_features(frames, len(audio))
        count = min(len(video), len(audio))
        if not count:
            raise ValueError(
                f"Synchformer: the clip is shorter than {FRAMES / FPS:g} s. Use a longer clip; 4.8 s are best."
            )
        chances = {start: self._chances(video[:count], audio[:count], start) for start in _starts(count, SLIDE)}
        groups = [chances[start] for start in _starts(count, SEGMENTS)]  # SEGMENTS is a multiple of SLIDE
        offset, confidence = _estimate(torch.stack(list(chances.values())).mean(0))
        windows = [_window(start, count, chance) for start, chance in chances.items()]
        return Desync(offset, confidence, sum(abs(_estimate(g)[0]) for g in groups) / len(groups), windows)

    def _video_features(self, frames: Iterator[Tensor], most: int) -> Float[Tensor, "s t d"]:
        """Features of at most ``most`` segments; only the frames of one segment are held."""
        held: list[Tensor] = []
        found: list[Tensor] = []
        for frame in frames:
            held.append(frame * 2 - 1)
            if len(held) == FRAMES:
                found.append(self.network.video(torch.stack(held, 1)[None].to(self.device))[0])
                del held[:STEP]
                if len(found) == most:
                    break
        return torch.stack(found) if found else torch.zeros(0, 0, 0)

    def _audio_features(self, waveform: Float[Tensor, " n"]) -> Float[Tensor, "s t d"]:
        if len(waveform) < SAMPLES:
            return torch.zeros(0, 0, 0)
        segments = waveform.unfold(0, SAMPLES, SAMPLES // 2)
        return torch.cat([self.network.audio(log_mel(part).to(self.device)) for part in segments.split(AUDIO_BATCH)])

    def _chances(self, video: Tensor, audio: Tensor, start: int) -> Float[Tensor, " k"]:
        """Probabilities of the classes for the window that begins at segment ``start``; a short clip is repeated from its beginning."""
        rows = (start + torch.arange(SEGMENTS)) % len(video)
        return self.network.compare(video[rows], audio[rows]).softmax(-1).cpu()


def load_synchformer(path: Path, config: SynchformerConfig | None = None) -> Synchformer:
    """Synchformer with the weights in ``path``, a safetensors file or a .pth file of tensors.

    Raises:
        ValueError: the file is missing, damaged, or does not hold exactly the network's tensors.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; Synchformer's weights are not part of Duet. {SOURCE}.")
    found = own_tensors(read_tensors(path)[0] if path.suffix == ".safetensors" else _read_pickle(path))
    network = Synchformer(config)
    wanted = network.state_dict()
    wrong = [name for name in wanted if name in found and found[name].shape != wanted[name].shape]
    for names, problem in (
        (wanted.keys() - found, "is missing"),
        (found.keys() - wanted, "is unknown"),
        (wrong, "has another shape"),
    ):
        if names:
            raise ValueError(f"{path}: not Synchformer's weights; the tensor {min(names)} {problem}. {SOURCE}.")
    network.load_state_dict({name: value.float() for name, value in found.items()})
    return network


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: not a file of tensors alone, or damaged. {SOURCE}.") from error
    if not (isinstance(found, Mapping) and all(isinstance(value, Tensor) for value in found.values())):
        raise ValueError(f"{path}: not a dictionary of named tensors. {SOURCE}.")
    return dict(found)


def mono(waveform: Float[Tensor, "channels n"], sample_rate: int) -> Float[Tensor, " resampled"]:
    """The mean of the channels at 16 kHz."""
    mixed = waveform.float().mean(0)
    # two equal channels, because mixing one channel to stereo would change its level
    return mixed if sample_rate == RATE else resample(mixed.expand(2, -1), rate=sample_rate, to=RATE)[0]


def log_mel(segments: Float[Tensor, "s n"]) -> Float[Tensor, "s m t"]:
    """Normalised log-mel spectrograms, 128 bands of the HTK scale."""
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(segments, N_FFT, HOP, WINDOW, window=window, pad_mode="reflect", return_complex=True)
    mel = (mel_bank(MELS, RATE, n_fft=N_FFT).T @ spectrum.abs().square() + FLOOR).log()
    padded = F.pad(mel, (0, SPECTRA - mel.shape[-1]))
    return (padded - MEAN) / (2 * DEVIATION)


def frames_of_clip(clip: Clip) -> Iterator[Float[Tensor, "3 h w"]]:
    """The frames at 25 per second, the nearest in time, in Synchformer's size."""
    for k in range(round(len(clip.frames) / clip.fps * FPS)):
        yield fitted(clip.frames[min(len(clip.frames) - 1, round(k / FPS * clip.fps))])


def frames_of_file(path: Path) -> Iterator[Float[Tensor, "3 h w"]]:
    """``frames_of_clip`` for a media file, decoded as they are read.

    Raises:
        ValueError: not a readable media file.
    """
    shown, begin, last, each, k = None, None, 0.0, 0.0, 0
    with open_media(path) as container:
        if not container.streams.video:
            return
        for frame in container.decode(video=0):
            assert isinstance(frame, av.VideoFrame)
            begin = frame.time or 0.0 if begin is None else begin
            time = (frame.time or 0.0) - begin
            while shown is not None and k / FPS < (last + time) / 2:
                yield shown
                k += 1
            shown, each, last = _decoded(frame), time - last, time
    while shown is not None and k / FPS < last + each - 1e-6:
        yield shown
        k += 1


def _decoded(frame: av.VideoFrame) -> Float[Tensor, "3 h w"]:
    return fitted(torch.from_numpy(frame.to_ndarray(format="rgb24")).float() / 255)


def fitted(frame: Float[Tensor, "height width 3"]) -> Float[Tensor, "3 h w"]:
    """A frame with its shorter side scaled to 224 pixels (bicubic) and its centre cut out."""
    height, width = frame.shape[:2]
    size = [max(SIDE, round(side * SIDE / min(height, width))) for side in (height, width)]
    scaled = F.interpolate(frame.float().permute(2, 0, 1)[None], size=size, mode="bicubic", antialias=True)[0].clamp(
        0, 1
    )
    top, left = ((side - SIDE) // 2 for side in size)
    return scaled[:, top : top + SIDE, left : left + SIDE]


def _starts(count: int, step: int) -> list[int]:
    """First segments of windows of 14; the last window ends with the clip."""
    last = max(0, count - SEGMENTS)
    return [*range(0, last, step), last]


def _estimate(chance: Float[Tensor, " k"]) -> tuple[float, float]:
    """The most likely offset in seconds and the probability of the classes within one of it."""
    best = int(chance.argmax())
    # Synchformer's classes go from -2 to 2 s and are positive if the audio is early.
    return (CLASSES // 2 - best) / 5, float(chance[max(0, best - 1) : best + 2].sum())


def _window(start: int, count: int, chance: Tensor) -> WindowOffset:
    end = min(start + SEGMENTS, count) + 1
    return WindowOffset(start * STEP / FPS, end * STEP / FPS, *_estimate(chance))
