"""Measurements of any clip, generated or recorded: synchrony, AV-Align, loudness, durations, and whether the stereo position of sounds
follows the motion in the frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..core.streams import Clip
from ..media.containers import AudioClock, check_gap, check_rate, check_times, open_media, samples_of
from .avalign import av_align_code, av_align_paper, peaks
from .loudness import Loudness
from .meter import Agreement, agreement, curve, in_step
from .onsets import CELLS, TICKS, CellChanges, cell_changes, video_onsets
from .sound import Sound, SoundMeter, sound_of

FRAMES_TOGETHER = 256  # frames whose changes are kept in one tensor
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
    sound: Sound | None

    @property
    def audio_seconds(self) -> float:
        """Duration of the audio in seconds."""
        return 0.0 if self.sound is None else self.sound.seconds


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
    sound = signals.sound
    if sound is None or signals.changes is None or signals.times is None:
        missing, level = ("audio", None) if sound is None else ("video", sound.loudness)
        nothing = Agreement(None, 0.0, 1.0, f"the clip has no {missing}")
        return Measured(signals.video_seconds, signals.audio_seconds, nothing, [], None, None, level, None, None)
    heard = sound.onsets
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
        sound.loudness,
        in_step(heard, seen),
        _side(sound, seen),
    )


def signals_of(clip: Clip) -> Signals:
    """The signals of a decoded clip."""
    frames = clip.frames.float()
    factor = max(1, math.ceil(max(frames.shape[1:3]) / SMALL))
    small = F.avg_pool2d(frames.permute(0, 3, 1, 2), factor, ceil_mode=True).permute(0, 2, 3, 1)
    times = torch.arange(len(frames)) / clip.fps
    seconds = len(frames) / clip.fps
    sound = sound_of(clip.waveform, sample_rate=clip.sample_rate)
    return Signals(cell_changes(small, times), times, seconds, sound)


def read_signals(path: Path, *, on_seconds: Callable[[float], object] = lambda _: None) -> Signals:
    """The signals of a media file of any container, rate, size and length. Neither frames nor samples are kept, so that memory does not
    grow with the length.

    Raises:
        ValueError: not a readable media file, one with neither video nor audio, or one whose
            sample rate or timestamps are out of range.
    """
    begin = _first_frame(path)
    video, audio = _VideoChanges(on_seconds), AlignedSamples(path, begin)
    meter: SoundMeter | None = None
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
                meter = meter or SoundMeter(frame.sample_rate)
                for part in audio.samples(frame):
                    meter.add(part)
    if not video.times and meter is None:
        raise ValueError(f"{path}: its streams contain no frames and no audio samples.")
    check_times(path, video.times)
    times = torch.tensor(video.times, dtype=torch.float64)
    each = float(times.diff().median()) if len(times) > 1 else 0.0
    return Signals(
        video.stacked(),
        (times - times[0]).float() if video.times else None,
        float(times[-1] - times[0]) + each if video.times else 0.0,
        None if meter is None else meter.result(),
    )


def read_waveform(path: Path) -> tuple[Float[Tensor, "channels s"] | None, int]:
    """The samples of a media file that ``read_signals`` measures, from the first video frame on, and their rate; None without audio.

    Raises:
        ValueError: as ``read_signals``.
    """
    audio, parts, rate = AlignedSamples(path, _first_frame(path)), list[Tensor](), 0
    with open_media(path) as container:
        if container.streams.audio:
            rate = check_rate(path, container.streams.audio[0].rate)
            parts = [part for frame in container.decode(audio=0) for part in audio.samples(frame)]
    return (torch.cat(parts, dim=1) if parts else None), rate


def _first_frame(path: Path) -> float | None:
    """The time in seconds of the first video frame."""
    with open_media(path) as container:
        first = next(container.decode(video=0), None) if container.streams.video else None
    return None if first is None else first.time or 0.0


class _VideoChanges:
    """How new each frame is, cell by cell, with the time at which it is shown."""

    def __init__(self, on_seconds: Callable[[float], object]) -> None:
        # Of many frames each: small tensors take more memory than their values.
        self.changes: list[Tensor] = []
        self.latest: list[Tensor] = []
        self.times: list[float] = []
        self.cells = CellChanges()
        self.on_seconds = on_seconds

    def add(self, frame: av.VideoFrame) -> None:
        last = self.times[-1] if self.times else 0.0
        self.times.append(frame.time if frame.time is not None else last)
        self.latest.append(self.cells.add(_small(frame), self.times[-1]))
        if len(self.latest) == FRAMES_TOGETHER:
            self.changes.append(torch.stack(self.latest))
            self.latest.clear()
        self.on_seconds(self.times[-1])

    def stacked(self) -> Tensor | None:
        """Changes of all frames; the first frame, which has none before it, takes those of the second."""
        if not self.times:
            return None
        out = torch.cat([*self.changes, *(change[None] for change in self.latest)])
        out[:1] = out[1:2] if len(out) > 1 else out
        return out


class AlignedSamples:
    """The samples of an audio stream from the first video frame on: silence where the stream begins later or the file has a gap."""

    def __init__(self, path: Path, begin: float | None) -> None:
        self.path, self.begin, self.clock = path, begin, AudioClock(path)
        self.resampler: av.AudioResampler | None = None
        self.early = 0  # samples before the first video frame that are still to be left out

    def samples(self, frame: av.AudioFrame) -> Iterator[Float[Tensor, "channels s"]]:
        """The samples of ``frame`` in -1..1, after silence where there is any."""
        silent = self.clock.missing(frame)
        if self.resampler is None:
            self.resampler = av.AudioResampler(format="s16", layout=frame.layout.name, rate=frame.sample_rate)
            begin = frame.time or 0.0
            late = 0.0 if self.begin is None else begin - self.begin
            check_gap(self.path, abs(late))
            silent, self.early = max(0.0, late), max(0, round(-late * frame.sample_rate))
        missing = round(silent * frame.sample_rate)
        while missing > 0:  # a long silence, too, in pieces
            yield torch.zeros(frame.layout.nb_channels, min(missing, frame.sample_rate))
            missing -= frame.sample_rate
        for part in self.resampler.resample(frame):
            found = samples_of(part)[:, self.early :].float().div_(32768)
            self.early = max(0, self.early - part.samples)
            if found.shape[1]:
                yield found


def _small(frame: av.VideoFrame) -> Float[Tensor, "h w 3"]:
    """The frame scaled so that its longer side has ``SMALL`` pixels, in 0..1."""
    factor = SMALL / max(frame.width, frame.height)
    size = {"width": max(CELLS, round(frame.width * factor)), "height": max(CELLS, round(frame.height * factor))}
    return torch.from_numpy(frame.reformat(**size, format="rgb24", interpolation="AREA").to_ndarray()).float() / 255


def _side(sound: Sound, seen: Float[Tensor, "m c"]) -> float | None:
    """Correlation, over the strongest onsets, of the level difference right minus left with the horizontal position of changes."""
    heard = sound.onsets
    if len(sound.energy) < 2:
        return None
    columns = seen[:, : CELLS**2].unflatten(1, (CELLS, CELLS)).sum(1)
    found = []
    for time in sorted(peaks(heard), key=lambda t: -float(heard[min(len(heard) - 1, int(t * TICKS))]))[:MAX_ONSETS]:
        tick = int(time * TICKS)
        near = columns[max(0, tick - TICKS // 10) : tick + TICKS // 10].sum(0)
        left, right = (sound.energy[:2, tick : tick + round(SIDE_SECONDS * TICKS)].sum(1) + 1e-9).tolist()
        if float(near.sum()) > 0:
            place = float((near * torch.arange(CELLS)).sum() / near.sum())
            found.append((place, 10 * math.log10(right / left)))
    if len(found) < MIN_ONSETS:
        return None
    places, levels = torch.tensor(found).T
    if float(levels.std()) < MIN_LEVEL_SPREAD or float(places.std()) < 1e-3:
        return None
    return float(torch.corrcoef(torch.stack([places, levels]))[0, 1])
