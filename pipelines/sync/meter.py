"""A synchrony meter for any clip that needs no model: audio onsets are correlated with visible events.

It detects that something happens, not what. If no delay fits better than chance, it reports that there is no evidence.

Letters: n ticks of the common clock, t traces, l lags, r rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .events import TOLERANCE
from .onsets import TICKS
from .peaks import local_maxima, parabola_peak

MAX_OFFSET = 0.6  # seconds, either way
SURROGATES, TOGETHER = 100, 20  # shuffled copies of the audio, and how many of them are correlated at once
MIN_SECONDS = 1.5  # shorter clips cannot be compared with chance
MIN_EVENTS = 3  # that coincide; fewer fit some delay by chance
CURVE_WINDOW, CURVE_STEP, CURVE_POINTS = 4.0, 1.0, 60  # seconds, seconds, and the largest number of windows
MIN_SEGMENT, MAX_SEGMENT = 0.2, 0.7  # seconds of the audio segments that are shuffled
PART = 4096  # ticks that are correlated at once, so that memory does not grow with the duration
APART = 0.1  # seconds; a second maximum at least this far from the first is another delay
AS_GOOD, EVEN = (
    0.8,
    0.5,
)  # another delay fits as well from this share of the highest correlation, if the audio repeats: its correlation
# with itself shifted by the difference
RESAMPLES, BLOCK = 400, 0.5  # of the bootstrap, and seconds of its blocks
ROUNDING = 0.02  # seconds of the interval's half width that do not shrink with the number of events
# Logistic regression of "within one frame" on ``Match.features``: the constant and the weight of each value. Fitted on development seeds 1
# to 3 of the suite meter-validation, whose notes contain the fit to its own clips.
CONSTANT, WEIGHTS = -0.23, (1.77, 1.09, 3.17, -1.62, 0.15, -0.54)
ENOUGH = 0.65  # least confidence that counts as evidence
LIKELY = 0.5  # seconds; of offsets that fit equally, one further from zero is not considered


@dataclass(frozen=True)
class Agreement:
    """How well audio and video match. ``offset`` is in seconds, positive if the audio is late, and None without evidence."""

    offset: float | None
    strength: float  # correlation of the audio with the best matching trace at the best lag, 0..1
    p: float  # p-value: how often the same audio with its segments shuffled reaches this strength
    reason: str = ""  # why there is no evidence
    confidence: float = 0.0  # probability that the best lag is right within one frame, see docs/measuring.md
    interval: tuple[float, float] | None = None  # 95 % interval of the offset in seconds
    others: tuple[float, ...] = ()  # further offsets that fit as well, because events repeat evenly
    best: float | None = None  # the best lag, with or without evidence
    features: tuple[float, ...] = ()  # from which the confidence is computed, see ``Match.features``

    def __str__(self) -> str:
        if self.offset is None:
            return f"no evidence: {self.reason}"
        late = "late" if self.offset >= 0 else "early"
        low, high = (1000 * x for x in self.interval or (self.offset, self.offset))
        found = (
            f"audio {abs(self.offset) * 1000:.0f} ms {late} [{low:+.0f}, {high:+.0f}], confidence {self.confidence:.2f}"
        )
        return f"{found} (strength {self.strength:.2f}, p {self.p:.3f}){_listed(self.others)}"


@dataclass(frozen=True)
class Match:
    """The best lag of a clip and what the confidence in it is computed from."""

    offset: float
    strength: float
    p: float
    deviations: float  # of the shuffled audio's correlation by which the strength exceeds its mean
    lead: float  # deviations by which the strength exceeds that of the best lag elsewhere
    events: int  # that coincide at this lag
    interval: tuple[float, float]
    others: tuple[float, ...]

    @property
    def features(self) -> tuple[float, ...]:
        """What the confidence depends on."""
        width = self.interval[1] - self.interval[0]
        return (
            math.log(max(self.deviations, 0.1)),
            math.log(max(self.lead, 0.0) + 0.3),
            self.strength,
            math.log(1 + self.events),
            math.log(width + 0.01),
            float(bool(self.others)),
        )

    @property
    def confidence(self) -> float:
        """Probability that the offset is right within one frame."""
        return 1 / (1 + math.exp(-CONSTANT - sum(w * x for w, x in zip(WEIGHTS, self.features, strict=True))))


def agreement(audio: Float[Tensor, " n"], video: Float[Tensor, "m t"]) -> Agreement:
    """The lag at which the audio onsets correlate best with any trace of the video, tested against the audio with its segments
    shuffled."""
    count = min(len(audio), len(video))
    if count < MIN_SECONDS * TICKS:
        reason = (
            f"{count / TICKS:.1f} s is too short for a comparison with chance; at least {MIN_SECONDS:g} s are needed"
        )
        return Agreement(None, 0.0, 1.0, reason)
    a, v = heard_trace(audio[:count]), _normalised(video[:count])
    for trace, reason in ((a, "the audio has no onsets"), (v, "nothing moves")):
        if float(trace.abs().max()) == 0:
            return Agreement(None, 0.0, 1.0, reason)
    return _judged(match(a, v))


def _judged(found: Match) -> Agreement:
    """The best lag as an offset if there is enough evidence for it, otherwise the reason why there is not."""
    reason = ""
    if found.events < MIN_EVENTS:
        reason = f"only {found.events} event(s) coincide at any delay; at least {MIN_EVENTS} are needed"
    elif any(abs(other) <= LIKELY for other in found.others):
        reason = f"the events repeat evenly; the delay may be {1000 * found.offset:+.0f} ms{_listed(found.others)}"
    elif found.confidence < ENOUGH:
        reason = f"no delay fits clearly better than chance (best {1000 * found.offset:+.0f} ms, confidence {found.confidence:.2f})"
    return Agreement(
        None if reason else found.offset,
        found.strength,
        found.p,
        reason,
        found.confidence,
        found.interval,
        found.others,
        found.offset,
        found.features,
    )


def match(audio: Float[Tensor, " n"], video: Float[Tensor, "n t"]) -> Match:
    """The best lag of normalised traces. Of lags that fit equally, because events repeat evenly, it is the one nearest zero."""
    reach = round(MAX_OFFSET * TICKS)
    scores = _correlation(audio[None], video, reach)[0]
    overall, lags = scores.amax(0), torch.arange(-reach, reach + 1)
    trace = int(scores.amax(1).argmax())
    equal = _equal_lags(audio, scores[trace])
    best = int(equal[equal.abs().argmin()]) + reach
    strength = float(scores[trace, best])
    apart = overall[(lags - lags[best]).abs() >= APART * TICKS]
    chance = _chance(audio, video, reach)
    spread = float(chance.std()) + 1e-6
    inside = 0 < best < len(lags) - 1
    fraction = parabola_peak(*scores[trace, best - 1 : best + 2].tolist()) if inside else 0.0
    offset = (best - reach + fraction) / TICKS
    return Match(
        offset,
        strength,
        (1 + int((chance >= strength).sum())) / (1 + SURROGATES),
        (strength - float(chance.mean())) / spread,
        (strength - float(apart.max())) / spread,
        _coinciding(audio, video[:, trace], best - reach),
        _interval(audio, video[:, trace], offset, reach),
        tuple(float(lag) / TICKS for lag in equal.tolist() if lag != best - reach),
    )


def _equal_lags(audio: Float[Tensor, " n"], scores: Float[Tensor, " l"]) -> Int[Tensor, " k"]:
    """The lag with the highest score, and those that fit as well because the audio resembles itself at the distance between them."""
    reach = len(scores) // 2
    best = int(scores.argmax()) - reach
    lags = torch.arange(-reach, reach + 1)
    itself = _correlation(audio[None], audio[:, None], 2 * reach)[0, 0]
    even = itself[lags - best + 2 * reach] >= EVEN
    good = local_maxima(scores, reach=round(APART * TICKS)) & (scores >= AS_GOOD * scores.max()) & even
    return lags[good | (lags == best)]


def in_step(audio: Float[Tensor, " n"], video: Float[Tensor, "m t"]) -> float:
    """The highest correlation at a lag of at most ``TOLERANCE`` either way, 0..1. Takes are ranked by it."""
    count, reach = min(len(audio), len(video)), round(TOLERANCE * TICKS)
    if count <= 2 * reach:
        return 0.0
    scores = _correlation(heard_trace(audio[:count])[None], _normalised(video[:count]), reach)
    return max(0.0, float(scores.max()))


def curve(audio: Float[Tensor, " n"], video: Float[Tensor, "m t"]) -> list[tuple[float, Agreement]]:
    """Agreement over time: the centre in seconds of each window of ``CURVE_WINDOW`` seconds, and the agreement within it. The windows of
    long clips are further apart."""
    count, step = min(len(audio), len(video)), round(CURVE_STEP * TICKS)
    length = min(count, round(CURVE_WINDOW * TICKS))
    last = max(1, count - length + 1)
    step = max(step, last // CURVE_POINTS)
    return [
        ((start + length / 2) / TICKS, agreement(audio[start : start + length], video[start : start + length]))
        for start in range(0, last, step)
    ]


def heard_trace(onsets: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Audio onsets above their median, which is the flux of noise, normalised."""
    return _normalised((onsets - onsets.median())[:, None])[:, 0]


def _normalised(traces: Float[Tensor, "n t"]) -> Float[Tensor, "n t"]:
    """Compressed by a square root, centred and scaled to unit norm; traces that are almost constant become zero."""
    x = traces.clamp_min(0).sqrt_()  # changed in place from here on: the traces of a long clip are large
    x -= x.mean(0)
    length = x.norm(dim=0)
    x /= length.clamp_min(1e-9)
    return x.masked_fill_(length <= 1e-3 * length.max().clamp_min(1e-6), 0)


def _correlation(audio: Float[Tensor, "r n"], video: Float[Tensor, "n t"], reach: int) -> Float[Tensor, "r t l"]:
    """Correlation of each row of audio with each trace, at every lag from -reach to reach ticks."""
    total = torch.zeros(len(audio), video.shape[1], 2 * reach + 1)
    size = 1 << (min(PART, audio.shape[1]) + 2 * reach - 1).bit_length()
    for start in range(0, audio.shape[1], PART):
        part = audio[:, start : start + PART]
        first, after = start - reach, start + part.shape[1] + reach
        near = F.pad(video[max(0, first) : after].T, (max(0, -first), max(0, after - len(video))))
        spectra = torch.fft.rfft(near, size)
        for row, spectrum in zip(total, torch.fft.rfft(part, size), strict=True):
            row += torch.fft.irfft(spectra * spectrum.conj(), size)[:, : 2 * reach + 1].flip(-1)
    return total


def _chance(audio: Float[Tensor, " n"], video: Float[Tensor, "n t"], reach: int) -> Float[Tensor, " r"]:
    """The highest correlations of the audio with its segments shuffled."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for start in range(0, SURROGATES, TOGETHER):
        rows = torch.stack([_shuffled(audio, generator) for _ in range(min(TOGETHER, SURROGATES - start))])
        found.append(_correlation(rows, video, reach).amax((1, 2)))
    return torch.cat(found)


def _shuffled(trace: Float[Tensor, " n"], generator: torch.Generator) -> Float[Tensor, " n"]:
    """The trace with its segments in random order. Shifting it as a whole would give too few independent surrogates for short clips."""
    count = int(len(trace) / TICKS / MIN_SEGMENT) + 1
    lengths = torch.rand(count, generator=generator) * (MAX_SEGMENT - MIN_SEGMENT) + MIN_SEGMENT
    cuts = (lengths.cumsum(0) * TICKS).long()
    pieces = trace.tensor_split(cuts[cuts < len(trace)])
    order = torch.randperm(len(pieces), generator=generator).tolist()
    return torch.cat([pieces[k] for k in order]).roll(int(torch.randint(len(trace), (1,), generator=generator)))


def _aligned(audio: Tensor, trace: Tensor, lag: int) -> Tensor:
    """Products of audio and trace if the audio is late by ``lag`` ticks."""
    products = audio * trace.roll(lag)
    edge = slice(0, lag) if lag >= 0 else slice(lag, None)
    products[edge] = 0
    return products


def _coinciding(audio: Float[Tensor, " n"], trace: Float[Tensor, " n"], lag: int) -> int:
    """Number of events that are seen and heard at a lag."""
    products = F.max_pool1d(_aligned(audio, trace, lag)[None], 5, 1, 2)[0]
    strongest = local_maxima(products, reach=round(APART * TICKS)) & (products > 0.2 * products.quantile(0.995))
    return int((strongest & ~F.pad(strongest, (1, 0))[:-1]).sum())


def _interval(audio: Tensor, trace: Tensor, offset: float, reach: int) -> tuple[float, float]:
    """95 % interval of the offset, by a bootstrap over blocks of the clip; only lags near the offset compete."""
    near = round(APART * TICKS)
    middle = round(offset * TICKS)
    lags = range(max(-reach, middle - near), min(reach, middle + near) + 1)
    size = round(BLOCK * TICKS)
    products = torch.stack([_aligned(audio, trace, lag) for lag in lags])
    blocks = F.pad(products, (0, -products.shape[1] % size)).unflatten(1, (-1, size)).sum(-1)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(blocks.shape[1], (RESAMPLES, blocks.shape[1]), generator=generator)
    weights = torch.zeros(RESAMPLES, blocks.shape[1]).scatter_add_(1, drawn, torch.ones(drawn.shape))
    found = (torch.tensor(list(lags))[(weights @ blocks.T).argmax(1)]).float() / TICKS
    low, high = found.quantile(torch.tensor([0.025, 0.975])).tolist()
    return min(low, offset) - ROUNDING, max(high, offset) + ROUNDING


def _listed(offsets: tuple[float, ...]) -> str:
    """Further offsets as text."""
    return "".join(f" or {1000 * offset:+.0f} ms" for offset in offsets)
