"""Traces of audible and visible events on a common clock, for the sync meter.

Letters: f frames, s samples, n ticks of the common clock, d differences, t traces, c cells of the frame and the frame as a whole.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..media.blocks import Blocks

TICKS = 100  # values per second of the common clock
KNOWN_SECONDS = (0.15, 0.25, 0.45)  # a picture seen within this time before a frame is not new
MOTION_SECONDS = 0.045  # between the pictures from which the reversal of a motion is measured, at least one frame
LEAST_GAP = 1e-3  # seconds between frames; those of a damaged file may have one time
NEARBY_SECONDS = (
    0.08  # a motion must last as long before its stop counts; reversals are compared with this time before and after
)
CELLS = 4  # rows and columns of the grid of cells in which changes of the video are measured
PLACES = CELLS**2 + 1  # the cells and the whole frame
NOVELTIES = 1 + len(KNOWN_SECONDS)  # differences to the previous frame, and to what is known
BANDS = 40  # of the spectrogram
WINDOW_SECONDS = 0.032  # of the spectrogram
BLOCK_SECONDS = 2.0  # of audio whose spectra are computed at once
SILENCE = 1e-6  # power relative to the loudest band; below it counts as silence


def sound_onsets(waveform: Float[Tensor, "channels s"], *, sample_rate: int) -> Float[Tensor, " n"]:
    """Increase of the log spectrum at each tick (spectral flux)."""
    onsets = SoundOnsets(sample_rate)
    onsets.add(waveform)
    return onsets.trace()


class SoundOnsets:
    """``sound_onsets`` of a stream of samples; memory grows by ``BANDS`` values a tick."""

    def __init__(self, sample_rate: int) -> None:
        self.hop, self.size = sample_rate / TICKS, max(32, round(WINDOW_SECONDS * sample_rate))
        self.bands = (torch.linspace(0, 1, self.size // 2 + 1).sqrt() * BANDS).long().clamp(max=BANDS - 1)
        self.window = torch.hann_window(self.size)
        self.blocks = Blocks(max(1, round(BLOCK_SECONDS * sample_rate)), before=self.size, after=self.size)
        self.spectrum: list[Float[Tensor, "n bands"]] = []
        self.samples = self.measured = self.ticks = 0

    def add(self, samples: Float[Tensor, "channels s"]) -> None:
        """The next samples."""
        self.samples += samples.shape[1]
        for part in self.blocks.add(samples.float().mean(0, keepdim=True)):
            self._measure(part[0])

    def trace(self) -> Float[Tensor, " n"]:
        """The onsets of all samples."""
        for part in self.blocks.end():
            self._measure(part[0])
        count = max(1, round(self.samples / self.hop))
        level = torch.cat([torch.zeros(0, BANDS), *self.spectrum])[:count]
        self.spectrum.clear()
        level = F.pad(level, (0, 0, 0, count - len(level))) if len(level) < count else level
        level = level.add_(SILENCE * level.max() + 1e-10).log_()
        rise = F.pad((level[1:] - level[:-1]).clamp_min_(0).mean(1), (1, 0))
        rise[: round(WINDOW_SECONDS * TICKS)] = 0  # the start of the clip is not an event
        return rise

    def _measure(self, part: Float[Tensor, " block"]) -> None:
        """The spectra of the ticks in a block. The hop need not be an integer, so each tick is rounded on its own and no drift
        accumulates."""
        end, starts = self.measured + len(part) - 2 * self.size, []
        while (tick := round(self.ticks * self.hop)) < end:
            starts.append(tick - self.measured + self.size - self.size // 2)
            self.ticks += 1
        if starts:
            frames = torch.stack([part[s : s + self.size] for s in starts]) * self.window
            power = torch.fft.rfft(frames).abs().square()
            self.spectrum.append(torch.zeros(len(starts), BANDS).index_add_(1, self.bands, power))
        self.measured = end


class CellChanges:
    """How a frame differs, in each cell and as a whole, from earlier frames.

    The difference from the previous frame counts the end of a flash like its start. The difference from the most similar frame of the
    last ``KNOWN_SECONDS`` does not, because the picture after the flash is known from before it; a longer time knows longer flashes, a
    shorter one tells apart events that repeat faster. The last two differences are those from one and two steps of
    ``MOTION_SECONDS`` before, from which ``video_onsets`` measures reversals."""

    def __init__(self) -> None:
        self.known: list[tuple[float, Tensor]] = []

    def add(self, frame: Float[Tensor, "height width 3"], time: float) -> Float[Tensor, "d c"]:
        """The differences of a frame shown from ``time`` in seconds; zero without an earlier frame of the same size."""
        small = F.avg_pool2d(frame.permute(2, 0, 1), 2, ceil_mode=True)
        if self.known and self.known[-1][1].shape != small.shape:
            self.known.clear()
        known = torch.stack([earlier for _, earlier in self.known]) if self.known else small[None]
        ages = torch.tensor([time - then for then, _ in self.known] if self.known else [0.0])
        cells = F.adaptive_avg_pool2d((known - small).abs().mean(1, keepdim=True), CELLS).flatten(1)
        change = torch.cat([cells, cells.mean(1, keepdim=True)], dim=1)
        # The last frame always counts, so that frames further apart have one to be compared with.
        last = torch.arange(len(ages)) == len(ages) - 1
        novelty = [change[(ages < seconds) | last].amin(0) for seconds in KNOWN_SECONDS]
        step = max(1, int((ages <= MOTION_SECONDS).sum()))
        earlier = [change[-min(step * k, len(change))] for k in (1, 2)]
        self.known = [each for each in self.known if time - each[0] < max(KNOWN_SECONDS)] + [(time, small)]
        return torch.stack([change[-1], *novelty, *earlier])


def cell_changes(frames: Float[Tensor, "f height width 3"], times: Float[Tensor, " f"]) -> Float[Tensor, "f d c"]:
    """The differences of all frames of a clip (see ``CellChanges``). The first frame repeats the second one's values, so that the start
    of the clip is not an event."""
    changes = CellChanges()
    cells = torch.stack([changes.add(frame, time) for frame, time in zip(frames, times.tolist(), strict=True)])
    return torch.cat([cells[1:2], cells[1:]]) if len(cells) > 1 else cells


def video_onsets(
    changes: Float[Tensor, "f d c"], times: Float[Tensor, " f"], *, seconds: float
) -> Float[Tensor, "n t"]:
    """Traces of visible events at each tick, first those of the cells that differ from the previous frame. ``times`` are the times in
    seconds from which the frames are shown.

    Something new is an increase of a difference. A reversal, as of a ball that bounces, is seen where the pictures before and after
    differ less from each other than both differ from the one between. Each value is spread as a triangle over the frames before and
    after, because the exact time between frames is unknown.
    """
    count, places = max(1, round(seconds * TICKS)), changes.shape[2]
    if len(times) < 2:
        return torch.zeros(count, (NOVELTIES + 1) * places)
    gap = max(LEAST_GAP, float(times.diff().median()))
    new = F.pad((changes[1:, :NOVELTIES] - changes[:-1, :NOVELTIES]).clamp_min(0), (0, 0, 0, 0, 1, 0))
    traces = torch.cat([new.flatten(1), _reversals(changes[:, -2], changes[:, -1], gap)], 1)
    return _on_clock(traces, times, count)


def _reversals(near: Float[Tensor, "f c"], far: Float[Tensor, "f c"], gap: float) -> Float[Tensor, "f c"]:
    """|x(i) - x(i-k)| + |x(i+k) - x(i)| - |x(i+k) - x(i-k)|, above its mean nearby; ``near`` and ``far`` are differences from k and 2k
    frames before."""
    step, around = max(1, int(MOTION_SECONDS / gap + 1e-3)), max(2, round(NEARBY_SECONDS / gap))
    found = torch.zeros_like(near)
    if len(near) > max(2 * step, around):
        found[step:-step] = near[step:-step] + near[2 * step :] - far[2 * step :]
        padded = F.pad(found.T[None], (around, around), mode="replicate")
        found = found - F.avg_pool1d(padded, 2 * around + 1, stride=1)[0].T
    return found.clamp_min(0)


def _on_clock(values: Float[Tensor, "f t"], times: Float[Tensor, " f"], count: int) -> Float[Tensor, "n t"]:
    """The values of frames at ``count`` ticks, each spread as a triangle to the frames before and after."""
    out = torch.zeros(count, values.shape[1])
    gaps = times.diff().clamp_min(1e-6)
    before, after = torch.cat([gaps[:1], gaps])[: len(times)], torch.cat([gaps, gaps[-1:]])[: len(times)]
    for i in range(len(values)):
        first, last = (int((times[i] + d) * TICKS) for d in (-before[i], after[i]))
        start = min(count, max(0, first))  # a damaged file may show frames after its end
        here = torch.arange(start, max(start, min(count, last + 1)))
        away = (here + 0.5) / TICKS - times[i]
        weight = torch.where(away < 0, 1 + away / before[i], 1 - away / after[i]).clamp_min(0)
        out[here] += weight[:, None] * values[i]
    return out
