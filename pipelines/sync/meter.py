"""Whether sound and picture of any clip agree, without a model: onsets of the sound against sudden changes of the picture.

It hears and sees *that* something happens, not what. Where nothing lines up better than by chance, it says that there is no
evidence. Letters: f frames, s samples, n ticks of the common clock, c cells of the picture, l lags, r surrogates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

TOLERANCE = 0.0625  # seconds within which both are called in step: a frame of the pocket model
TICKS = 100  # a second, of the common clock
CELLS = 4  # rows and columns in which changes of the picture are told apart
BANDS = 40
WINDOW_SECONDS = 0.032  # of the spectrogram
REACH = 0.6  # seconds of offset that are looked for, either way
SURROGATES = 200
SURE = 0.02  # p-value below which there is evidence
LEAST_SECONDS = 1.5  # of a clip, so that chance can be told
PIECE, STEP = 4.0, 1.0  # seconds of the curve's windows
SHORTEST, LONGEST = 0.2, 0.7  # seconds of the pieces whose order is changed to know chance
LEAST_LEVEL = 1e-6  # of the loudest band: what is softer is silence


@dataclass(frozen=True)
class Agreement:
    """How sound and picture line up. ``offset`` is in seconds, positive where the sound is late; None without evidence."""

    offset: float | None
    strength: float  # of the best lag: correlation of the sound with the cell that follows it best, 0..1
    p: float  # chance of such a strength for the same sound with its pieces in another order
    reason: str = ""  # why there is no evidence

    def __str__(self) -> str:
        if self.offset is None:
            return f"no evidence: {self.reason}"
        late = "late" if self.offset >= 0 else "early"
        return f"sound {abs(self.offset) * 1000:.0f} ms {late} (strength {self.strength:.2f}, p {self.p:.3f})"


def sound_onsets(waveform: Float[Tensor, "channels s"], *, sample_rate: int) -> Float[Tensor, " n"]:
    """Rise of the spectrum's logarithm at each tick (spectral flux)."""
    hop, size = sample_rate / TICKS, max(32, round(WINDOW_SECONDS * sample_rate))
    count = max(1, round(waveform.shape[1] / hop))
    mono = F.pad(waveform.float().mean(0), (size // 2, size + round(hop)))
    # A rate that is no multiple of the clock still gets frames at the ticks themselves.
    starts = (torch.arange(count, device=mono.device) * hop).round().long()
    spectrum = torch.zeros(count, BANDS)
    bands = (torch.linspace(0, 1, size // 2 + 1).sqrt() * BANDS).long().clamp(max=BANDS - 1)
    window = torch.hann_window(size)
    for part in torch.arange(count).split(6000):
        frames = torch.stack([mono[s : s + size] for s in starts[part].tolist()]) * window
        spectrum[part] = torch.zeros(len(part), BANDS).index_add_(1, bands, torch.fft.rfft(frames).abs().square())
    level = torch.log(spectrum + LEAST_LEVEL * spectrum.max() + 1e-10)
    rise = F.pad((level[1:] - level[:-1]).clamp_min(0).mean(1), (1, 0))
    rise[: round(WINDOW_SECONDS * TICKS)] = 0  # the beginning itself is no event
    return rise


def cell_changes(frames: Float[Tensor, "f height width 3"]) -> Float[Tensor, "f c"]:
    """How much each cell of the picture changed since the frame before; the first frame as much as the second, so that the
    beginning itself is no event."""
    if len(frames) == 1:
        return torch.zeros(1, CELLS**2)
    change = (frames[1:] - frames[:-1]).abs().mean(-1)
    cells = F.adaptive_avg_pool2d(change[:, None], CELLS).flatten(1)
    return torch.cat([cells[:1], cells])


def picture_onsets(
    changes: Float[Tensor, "f c"], times: Float[Tensor, " f"], *, seconds: float
) -> Float[Tensor, "n c"]:
    """Rise of each cell's change at each tick. ``times`` are the moments at which the frames begin to be shown: a change lies
    there, and its rise is spread over the frame before and the frame after, since nobody knows where between them it was."""
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


def agreement(sound: Float[Tensor, " n"], picture: Float[Tensor, "m c"]) -> Agreement:
    """The lag at which the sound's onsets follow some cell of the picture best, against the sound with its pieces in another order."""
    count = min(len(sound), len(picture))
    if count < LEAST_SECONDS * TICKS:
        return Agreement(None, 0.0, 1.0, f"{count / TICKS:.1f} s are too short to tell chance from agreement")
    a, v = _ready(sound[:count, None])[:, 0], _ready(picture[:count])
    for trace, name in ((a, "nothing is heard to begin"), (v, "nothing moves")):
        if float(trace.abs().max()) == 0:
            return Agreement(None, 0.0, 1.0, name)
    reach = round(REACH * TICKS)
    scores = _best_cell(a[None], v, reach)[0]
    best = int(scores.argmax())
    strength = float(scores[best])
    generator = torch.Generator().manual_seed(0)
    chance = torch.cat(
        [
            _best_cell(torch.stack([_elsewhere(a, generator) for _ in range(SURROGATES // 10)]), v, reach).amax(1)
            for _ in range(10)
        ]
    )
    p = (1 + int((chance >= strength).sum())) / (1 + SURROGATES)
    if p > SURE:
        return Agreement(None, strength, p, f"the same sound fits elsewhere as well (p {p:.2f})")
    return Agreement((best - reach + _peak(scores, best)) / TICKS, strength, p)


def in_step(sound: Float[Tensor, " n"], picture: Float[Tensor, "m c"]) -> float:
    """Correlation of both where the sound is neither late nor early by more than ``TOLERANCE``: what takes are ranked by, 0..1."""
    count, reach = min(len(sound), len(picture)), round(TOLERANCE * TICKS)
    if count <= 2 * reach:
        return 0.0
    scores = _best_cell(_ready(sound[:count, None]).T, _ready(picture[:count]), reach)
    return max(0.0, float(scores.max()))


def curve(sound: Float[Tensor, " n"], picture: Float[Tensor, "m c"]) -> list[tuple[float, Agreement]]:
    """Agreement second by second: the middle of each window of ``PIECE`` seconds, and what holds in it."""
    count, step = min(len(sound), len(picture)), round(STEP * TICKS)
    length = min(count, round(PIECE * TICKS))
    last = max(1, count - length + 1)
    return [
        ((start + length / 2) / TICKS, agreement(sound[start : start + length], picture[start : start + length]))
        for start in range(0, last, step)
    ]


def _ready(traces: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Compressed, centred and of unit length; a trace in which nothing happens is nought."""
    x = traces.clamp_min(0).sqrt()
    x = x - x.mean(0)
    length = x.norm(dim=0)
    return torch.where(length > 1e-3 * length.max().clamp_min(1e-6), x / length.clamp_min(1e-9), torch.zeros(()))


def _best_cell(sounds: Float[Tensor, "r n"], picture: Float[Tensor, "n c"], reach: int) -> Float[Tensor, "r l"]:
    """Correlation of each sound with the cell that fits it best, at every lag from -reach to reach ticks."""
    size = 1 << (2 * sounds.shape[1] - 1).bit_length()
    spectra = torch.fft.rfft(sounds, size)[:, None] * torch.fft.rfft(picture.T, size).conj()[None]
    lags = torch.fft.irfft(spectra, size).amax(1)
    return torch.cat([lags[:, -reach:], lags[:, : reach + 1]], dim=1)


def _elsewhere(trace: Float[Tensor, " n"], generator: torch.Generator) -> Float[Tensor, " n"]:
    """The same sound with its pieces in another order: as much happens, at other times. (Moving it as a whole would not do: a clip
    of eight seconds has only eight places that are a second apart.)"""
    lengths = torch.rand(len(trace), generator=generator) * (LONGEST - SHORTEST) + SHORTEST
    cuts = (lengths.cumsum(0) * TICKS).long()
    pieces = trace.tensor_split(cuts[cuts < len(trace)])
    order = torch.randperm(len(pieces), generator=generator).tolist()
    return torch.cat([pieces[k] for k in order]).roll(int(torch.randint(len(trace), (1,), generator=generator)))


def _peak(scores: Float[Tensor, " l"], best: int) -> float:
    """Where between its neighbours the peak lies, by a parabola."""
    if not 0 < best < len(scores) - 1:
        return 0.0
    before, here, after = scores[best - 1 : best + 2].tolist()
    bend = before - 2 * here + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
