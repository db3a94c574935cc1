"""Measurements of any clip, generated or recorded: synchrony, AV-Align, loudness, durations, and whether the stereo position of sounds
follows the motion in the frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..core.streams import Clip
from ..media.containers import AudioClock, check_rate, check_times, open_media, samples_of
from .avalign import av_align_code, av_align_paper, peaks
from .loudness import Loudness, loudness
from .meter import Agreement, agreement, curve, in_step
from .onsets import CELLS, TICKS, CellChanges, cell_changes, sound_onsets, video_onsets

SMALL = 96  # pixels of the longer side, to which frames are scaled before changes are measured
MAX_ONSETS, MIN_ONSETS = 20, 4  # onsets used for the stereo position, strongest first, and the least number of them
SIDE_SECONDS = 0.08  # of audio after an onset whose channel levels are compared
MIN_LEVEL_SPREAD = (
    1.0  # dB; with a smaller standard deviation of the level difference the stereo position is not reported
)


@dataclass(frozen=True)
class Signals:
    """The parts of a clip that are measured; None for a missing stream."""

    changes: Float[Tensor, "f d c"] | None  # see ``onsets.CellChanges``
    times: Float[Tensor, " f"] | None  # seconds from which each frame is shown
    video_seconds: float
    waveform: Float[Tensor, "channels s"] | None
    sample_rate: int

    @property
    def audio_seconds(self) -> float:
        """Duration of the audio in seconds."""
        return 0.0 if self.waveform is None else self.waveform.shape[1] / self.sample_rate


@dataclass(frozen=True)
class Measured:
    """The measurements of a clip. Those that do not apply are None; ``agreement`` holds the reason if there is no offset."""

    video_seconds: float
    audio_seconds: float
    agreement: Agreement
    seconds: list[tuple[float, Agreement]]  # the same over time, see ``meter.curve``
    av_align_code: float | None
    av_align_paper: float | None
    loudness: Loudness | None
    in_step: float | None  # correlation of audio and video without a shift, 0..1
    side: float | None  # correlation of the stereo position of onsets with the position of motion, -1..1

    @property
    def drift(self) -> float:
        """Seconds by which the audio is longer than the video."""
        return self.audio_seconds - self.video_seconds

    def to_json(self) -> dict[str, Any]:
        """All measurements as plain data."""
        return asdict(self) | {"drift": self.drift}

    def __str__(self) -> str:
        step = "" if self.in_step is None else f"; correlation without a shift {self.in_step:.2f}"
        lines = [f"{self.agreement}{step}", f"video {self.video_seconds:.2f} s, audio {self.audio_seconds:.2f} s"]
        if self.av_align_code is not None:
            lines.append(
                f"AV-Align {self.av_align_code:.2f} (as in the code), {self.av_align_paper:.2f} (as in the paper), with Duet's peaks"
            )
        if self.loudness is not None:
            found = self.loudness
            level = "below the loudness gate" if found.lufs is None else f"{found.lufs:.1f} LUFS"
            lines.append(
                f"{level}, true peak {found.true_peak:.1f} dB, {found.clipped} clipped run(s), {100 * found.silent:.0f} % silence"
            )
        if self.side is not None:
            lines.append(f"stereo position: correlation {self.side:.2f} with the position of motion")
        return "\n".join(lines)


def measure(signals: Signals) -> Measured:
    """All measurements of ``signals``."""
    heard = None if signals.waveform is None else sound_onsets(signals.waveform, sample_rate=signals.sample_rate)
    level = None if signals.waveform is None else loudness(signals.waveform.float(), sample_rate=signals.sample_rate)
    if heard is None or signals.changes is None or signals.times is None:
        missing = "audio" if heard is None else "video"
        nothing = Agreement(None, 0.0, 1.0, f"the clip has no {missing}")
        return Measured(signals.video_seconds, signals.audio_seconds, nothing, [], None, None, level, None, None)
    seen = video_onsets(signals.changes, signals.times, seconds=signals.video_seconds)
    both = peaks(heard), peaks(seen[:, : CELLS**2].sum(1))
    frame = signals.video_seconds / max(1, len(signals.times))
    return Measured(
        signals.video_seconds,
        signals.audio_seconds,
        agreement(heard, seen),
        curve(heard, seen),
        av_align_code(*both, frame_seconds=frame),
        av_align_paper(*both, frame_seconds=frame),
        level,
        in_step(heard, seen),
        _side(signals, heard, seen),
    )


def signals_of(clip: Clip) -> Signals:
    """The signals of a decoded clip."""
    frames = clip.frames.float()
    factor = max(1, math.ceil(max(frames.shape[1:3]) / SMALL))
    small = F.avg_pool2d(frames.permute(0, 3, 1, 2), factor, ceil_mode=True).permute(0, 2, 3, 1)
    times = torch.arange(len(frames)) / clip.fps
    seconds = len(frames) / clip.fps
    sound = clip.waveform if clip.waveform.shape[1] else None
    return Signals(cell_changes(small, times), times, seconds, sound, clip.sample_rate)


def read_signals(path: Path, *, on_seconds: Callable[[float], object] = lambda _: None) -> Signals:
    """The signals of a media file of any container, rate, size and length. Frames are not kept; the audio is, as 16-bit numbers.

    Raises:
        ValueError: not a readable media file, one with neither video nor audio, or one whose
            sample rate or timestamps are out of range.
    """
    video, audio = _VideoChanges(on_seconds), _AudioSamples(path)
    with open_media(path) as container:
        streams = [s[0] for s in (container.streams.video, container.streams.audio) if s]
        if not streams:
            raise ValueError(f"{path} has neither a video nor an audio stream.")
        if container.streams.audio:
            check_rate(path, container.streams.audio[0].rate)
        for frame in container.decode(*streams):
            if isinstance(frame, av.VideoFrame):
                video.add(frame)
            elif isinstance(frame, av.AudioFrame):
                audio.add(frame)
    if not video.times and not audio.parts:
        raise ValueError(f"{path}: its streams contain no frames and no audio samples.")
    check_times(path, video.times, audio_start=audio.begin if video.times else None)
    times = torch.tensor(video.times, dtype=torch.float64)
    each = float(times.diff().median()) if len(times) > 1 else 0.0
    begin = video.times[0] if video.times else 0.0
    waveform = audio.waveform()
    late = round(((audio.begin or 0.0) - begin) * audio.rate) if video.times else 0
    if waveform is not None and late:  # times are relative to the first video frame
        waveform = F.pad(waveform, (max(0, late), 0))[:, max(0, -late) :]
    return Signals(
        video.stacked(),
        (times - begin).float() if video.times else None,
        float(times[-1] - begin) + each if video.times else 0.0,
        waveform,
        audio.rate,
    )


class _VideoChanges:
    """How new each frame is, cell by cell, with the time at which it is shown."""

    def __init__(self, on_seconds: Callable[[float], object]) -> None:
        self.changes: list[Tensor] = []
        self.times: list[float] = []
        self.cells = CellChanges()
        self.on_seconds = on_seconds

    def add(self, frame: av.VideoFrame) -> None:
        last = self.times[-1] if self.times else 0.0
        self.times.append(frame.time if frame.time is not None else last)
        self.changes.append(self.cells.add(_small(frame), self.times[-1]))
        self.on_seconds(self.times[-1])

    def stacked(self) -> Tensor | None:
        """Changes of all frames; the first frame, which has none before it, takes those of the second."""
        if len(self.changes) > 1:
            self.changes[0] = self.changes[1]
        return torch.stack(self.changes) if self.changes else None


class _AudioSamples:
    """The samples of an audio stream, with the time at which it begins; silence where the file has a gap."""

    def __init__(self, path: Path) -> None:
        self.clock = AudioClock(path)
        self.parts: list[Tensor] = []
        self.resampler: av.AudioResampler | None = None
        self.rate = 0
        self.begin: float | None = None

    def add(self, frame: av.AudioFrame) -> None:
        if self.resampler is None:
            self.resampler = av.AudioResampler(format="s16", layout=frame.layout.name, rate=frame.sample_rate)
            self.begin = frame.time or 0.0
        self.rate = frame.sample_rate
        silent = round(self.clock.missing(frame) * frame.sample_rate)
        self.parts += [torch.zeros(frame.layout.nb_channels, silent, dtype=torch.int16)] if silent else []
        self.parts += [samples_of(part) for part in self.resampler.resample(frame)]

    def waveform(self) -> Tensor | None:
        """All samples in -1..1; the parts are released, because a long stream is large."""
        if not self.parts:
            return None
        whole = torch.cat(self.parts, dim=1)
        self.parts.clear()
        return whole.float().div_(32768)


def _small(frame: av.VideoFrame) -> Float[Tensor, "h w 3"]:
    """The frame scaled so that its longer side has ``SMALL`` pixels, in 0..1."""
    factor = SMALL / max(frame.width, frame.height)
    size = {"width": max(CELLS, round(frame.width * factor)), "height": max(CELLS, round(frame.height * factor))}
    return torch.from_numpy(frame.reformat(**size, format="rgb24", interpolation="AREA").to_ndarray()).float() / 255


def _side(signals: Signals, heard: Float[Tensor, " n"], seen: Float[Tensor, "m c"]) -> float | None:
    """Correlation, over the strongest onsets, of the level difference right minus left with the horizontal position of changes."""
    waveform, rate = signals.waveform, signals.sample_rate
    if waveform is None or len(waveform) < 2:
        return None
    columns = seen[:, : CELLS**2].unflatten(1, (CELLS, CELLS)).sum(1)
    found = []
    for time in sorted(peaks(heard), key=lambda t: -float(heard[min(len(heard) - 1, int(t * TICKS))]))[:MAX_ONSETS]:
        tick, start = int(time * TICKS), round(time * rate)
        near = columns[max(0, tick - TICKS // 10) : tick + TICKS // 10].sum(0)
        piece = waveform[:2, start : start + round(SIDE_SECONDS * rate)].square().sum(1) + 1e-9
        if float(near.sum()) > 0:
            place = float((near * torch.arange(CELLS)).sum() / near.sum())
            found.append((place, 10 * math.log10(float(piece[1] / piece[0]))))
    if len(found) < MIN_ONSETS:
        return None
    places, levels = torch.tensor(found).T
    if float(levels.std()) < MIN_LEVEL_SPREAD or float(places.std()) < 1e-3:
        return None
    return float(torch.corrcoef(torch.stack([places, levels]))[0, 1])
