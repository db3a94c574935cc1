"""A synchrony meter for any clip that needs no model: audio onsets are correlated with sudden changes in the video.

It detects that something happens, not what. If no delay fits better than chance, it reports that there is no evidence.

Letters: f frames, s samples, n ticks of the common clock, c cells of the frame, l lags, r surrogates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .events import TOLERANCE
from .peaks import parabola_peak

TICKS = 100  # values per second of the common clock
KNOWN_SECONDS = 0.45  # a picture seen within this time before a frame is not new; chosen on the development clips of bench/meter_clips
CELLS = 4  # rows and columns of the grid of cells in which changes of the video are measured
BANDS = 40  # of the spectrogram
WINDOW_SECONDS = 0.032  # of the spectrogram
MAX_OFFSET = 0.6  # seconds, either way
SURROGATES = 200
SIGNIFICANCE = 0.02  # largest p-value that counts as evidence
MIN_SECONDS = 1.5  # shorter clips cannot be compared with chance
CURVE_WINDOW, CURVE_STEP = 4.0, 1.0  # seconds
MIN_SEGMENT, MAX_SEGMENT = 0.2, 0.7  # seconds of the audio segments that are shuffled
SILENCE = 1e-6  # power relative to the loudest band; below it counts as silence


@dataclass(frozen=True)
class Agreement:
    """How well audio and video match. ``offset`` is in seconds, positive if the audio is late, and None without evidence."""

    offset: float | None
    strength: float  # correlation of the audio with the best matching cell at the best lag, 0..1
    p: float  # p-value: how often the same audio with its segments shuffled reaches this strength
    reason: str = ""  # why there is no evidence

    def __str__(self) -> str:
        if self.offset is None:
            return f"no evidence: {self.reason}"
        late = "late" if self.offset >= 0 else "early"
        return f"audio {abs(self.offset) * 1000:.0f} ms {late} (strength {self.strength:.2f}, p {self.p:.3f})"


def sound_onsets(waveform: Float[Tensor, "channels s"], *, sample_rate: int) -> Float[Tensor, " n"]:
    """Increase of the log spectrum at each tick (spectral flux)."""
    hop, size = sample_rate / TICKS, max(32, round(WINDOW_SECONDS * sample_rate))
    count = max(1, round(waveform.shape[1] / hop))
    mono = F.pad(waveform.float().mean(0), (size // 2, size + round(hop)))
    # The hop need not be an integer, so each frame's start is rounded on its own and no drift accumulates.
    starts = (torch.arange(count, device=mono.device) * hop).round().long()
    spectrum = torch.zeros(count, BANDS)
    bands = (torch.linspace(0, 1, size // 2 + 1).sqrt() * BANDS).long().clamp(max=BANDS - 1)
    window = torch.hann_window(size)
    for part in torch.arange(count).split(6000):
        frames = torch.stack([mono[s : s + size] for s in starts[part].tolist()]) * window
        spectrum[part] = torch.zeros(len(part), BANDS).index_add_(1, bands, torch.fft.rfft(frames).abs().square())
    level = torch.log(spectrum + SILENCE * spectrum.max() + 1e-10)
    rise = F.pad((level[1:] - level[:-1]).clamp_min(0).mean(1), (1, 0))
    rise[: round(WINDOW_SECONDS * TICKS)] = 0  # the start of the clip is not an event
    return rise


class CellChanges:
    """How a frame differs, cell by cell, from the previous frame, and from the most similar frame of the last ``KNOWN_SECONDS``.

    The first alone counts the end of a flash like its start; the second does not, because the picture after the flash is known from
    before it. The second alone misses events that repeat within ``KNOWN_SECONDS``. ``agreement`` uses what matches the audio better."""

    def __init__(self) -> None:
        self.known: list[tuple[float, Tensor]] = []

    def add(self, frame: Float[Tensor, "height width 3"], time: float) -> Float[Tensor, " c"]:
        """The values of a frame shown from ``time`` in seconds; zero without an earlier frame of the same size."""
        small = F.avg_pool2d(frame.permute(2, 0, 1), 2, ceil_mode=True)
        if self.known and self.known[-1][1].shape != small.shape:
            self.known.clear()
        known = torch.stack([earlier for _, earlier in self.known]) if self.known else small[None]
        change = F.adaptive_avg_pool2d((known - small).abs().mean(1, keepdim=True), CELLS).flatten(1)
        # The last frame is always kept, so that frames further apart than KNOWN_SECONDS have one to be compared with.
        self.known = [each for each in self.known if time - each[0] < KNOWN_SECONDS] + [(time, small)]
        return torch.cat([change[-1], change.amin(0)])


def cell_changes(frames: Float[Tensor, "f height width 3"], times: Float[Tensor, " f"]) -> Float[Tensor, "f c"]:
    """The values of all frames of a clip (see ``CellChanges``). The first frame repeats the second one's value, so that the start of the
    clip is not an event."""
    changes = CellChanges()
    cells = torch.stack([changes.add(frame, time) for frame, time in zip(frames, times.tolist(), strict=True)])
    return torch.cat([cells[1:2], cells[1:]]) if len(cells) > 1 else cells


def video_onsets(changes: Float[Tensor, "f c"], times: Float[Tensor, " f"], *, seconds: float) -> Float[Tensor, "n c"]:
    """Increase of each cell's change at each tick. ``times`` are the times in seconds from which the frames are shown. Each increase is
    spread as a triangle over the frames before and after, because the exact time between frames is unknown."""
    rise = F.pad((changes[1:] - changes[:-1]).clamp_min(0), (0, 0, 1, 0))
    ticks = (torch.arange(max(1, round(seconds * TICKS))) + 0.5) / TICKS
    out = torch.zeros(len(ticks), rise.shape[1])
    gaps = times.diff().clamp_min(1e-6)
    before, after = torch.cat([gaps[:1], gaps]), torch.cat([gaps, gaps[-1:]])
    for i in range(len(rise)):
        first, last = (int((times[i] + d) * TICKS) for d in (-before[i], after[i]))
        here = torch.arange(max(0, first), min(len(ticks), last + 1))
        away = ticks[here] - times[i]
        weight = torch.where(away < 0, 1 + away / before[i], 1 - away / after[i]).clamp_min(0)
        out[here] += weight[:, None] * rise[i]
    return out


def agreement(audio: Float[Tensor, " n"], video: Float[Tensor, "m c"]) -> Agreement:
    """The lag at which the audio onsets correlate best with any cell of the video, tested against the audio with its segments shuffled."""
    count = min(len(audio), len(video))
    if count < MIN_SECONDS * TICKS:
        reason = (
            f"{count / TICKS:.1f} s is too short for a comparison with chance; at least {MIN_SECONDS:g} s are needed"
        )
        return Agreement(None, 0.0, 1.0, reason)
    a, v = _normalised(audio[:count, None])[:, 0], _normalised(video[:count])
    for trace, reason in ((a, "the audio has no onsets"), (v, "nothing moves")):
        if float(trace.abs().max()) == 0:
            return Agreement(None, 0.0, 1.0, reason)
    reach = round(MAX_OFFSET * TICKS)
    scores = _best_cell(a[None], v, reach)[0]
    best = int(scores.argmax())
    strength = float(scores[best])
    generator = torch.Generator().manual_seed(0)
    chance = torch.cat(
        [
            _best_cell(torch.stack([_shuffled(a, generator) for _ in range(SURROGATES // 10)]), v, reach).amax(1)
            for _ in range(10)
        ]
    )
    p = (1 + int((chance >= strength).sum())) / (1 + SURROGATES)
    if p > SIGNIFICANCE:
        return Agreement(None, strength, p, f"the match is no better than chance (p {p:.2f})")
    inside = 0 < best < len(scores) - 1
    fraction = parabola_peak(*scores[best - 1 : best + 2].tolist()) if inside else 0.0
    return Agreement((best - reach + fraction) / TICKS, strength, p)


def in_step(audio: Float[Tensor, " n"], video: Float[Tensor, "m c"]) -> float:
    """The highest correlation at a lag of at most ``TOLERANCE`` either way, 0..1. Takes are ranked by it."""
    count, reach = min(len(audio), len(video)), round(TOLERANCE * TICKS)
    if count <= 2 * reach:
        return 0.0
    scores = _best_cell(_normalised(audio[:count, None]).T, _normalised(video[:count]), reach)
    return max(0.0, float(scores.max()))


def curve(audio: Float[Tensor, " n"], video: Float[Tensor, "m c"]) -> list[tuple[float, Agreement]]:
    """Agreement over time: the centre in seconds of each window of ``CURVE_WINDOW`` seconds, and the agreement within it."""
    count, step = min(len(audio), len(video)), round(CURVE_STEP * TICKS)
    length = min(count, round(CURVE_WINDOW * TICKS))
    last = max(1, count - length + 1)
    return [
        ((start + length / 2) / TICKS, agreement(audio[start : start + length], video[start : start + length]))
        for start in range(0, last, step)
    ]


def _normalised(traces: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Compressed by a square root, centred and scaled to unit norm; traces that are almost constant become zero."""
    x = traces.clamp_min(0).sqrt()
    x = x - x.mean(0)
    length = x.norm(dim=0)
    return torch.where(length > 1e-3 * length.max().clamp_min(1e-6), x / length.clamp_min(1e-9), torch.zeros(()))


def _best_cell(traces: Float[Tensor, "r n"], video: Float[Tensor, "n c"], reach: int) -> Float[Tensor, "r l"]:
    """Correlation of each audio trace with the best matching cell, at every lag from -reach to reach ticks."""
    size = 1 << (2 * traces.shape[1] - 1).bit_length()
    spectra = torch.fft.rfft(traces, size)[:, None] * torch.fft.rfft(video.T, size).conj()[None]
    lags = torch.fft.irfft(spectra, size).amax(1)
    return torch.cat([lags[:, -reach:], lags[:, : reach + 1]], dim=1)


def _shuffled(trace: Float[Tensor, " n"], generator: torch.Generator) -> Float[Tensor, " n"]:
    """The trace with its segments in random order. Shifting it as a whole would give too few independent surrogates for short clips."""
    lengths = torch.rand(len(trace), generator=generator) * (MAX_SEGMENT - MIN_SEGMENT) + MIN_SEGMENT
    cuts = (lengths.cumsum(0) * TICKS).long()
    pieces = trace.tensor_split(cuts[cuts < len(trace)])
    order = torch.randperm(len(pieces), generator=generator).tolist()
    return torch.cat([pieces[k] for k in order]).roll(int(torch.randint(len(trace), (1,), generator=generator)))
