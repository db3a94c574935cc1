"""Modifiers of a guidance strategy: limit it to part of the schedule, or limit its effect on the prediction."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

from torch import Tensor

from ..core.streams import Latents, Streams
from .strategy import MAX_SCALE, PLAIN, Branch, Outputs, Strategy, Terms, active_terms, combine_terms


@dataclass(frozen=True)
class Modifier(Strategy):
    """A strategy that modifies another strategy."""

    strategy: Strategy

    def terms(self, sigma: float) -> Terms:
        return self.strategy.terms(sigma)

    def branches(self, sigma: float) -> list[Branch]:
        return self.strategy.branches(sigma)

    def possible_branches(self) -> list[Branch]:
        return _with_plain(self.strategy.possible_branches(), wanted=True)

    def combine(self, x: Latents, sigma: float, outputs: Outputs) -> Latents:
        return self.strategy.combine(x, sigma, outputs)


@dataclass(frozen=True)
class UnimodalStrategy(Modifier):
    """Another strategy with both cross-modal directions closed: each stream is generated independently."""

    def __post_init__(self) -> None:
        _require_linear(self)

    def terms(self, sigma: float) -> Terms:
        terms = self.strategy.terms(sigma)
        return {replace(branch, a2v=False, v2a=False): weights for branch, weights in terms.items()}

    branches, possible_branches, combine = Strategy.branches, Strategy.possible_branches, Strategy.combine


@dataclass(frozen=True)
class PlanScale(Modifier):
    """Another strategy plus guidance towards the plan: + (scale - 1) (x0 - x0 without the plan), with a scale for each stream. Scale 1
    has no effect and no cost."""

    video: float = 1.5
    audio: float = 1.5

    def __post_init__(self) -> None:
        _require_linear(self)
        for name, scale in (("video", self.video), ("audio", self.audio)):
            if not 0 <= scale <= MAX_SCALE:
                raise ValueError(f"The {name} scale of the plan is {scale}; it must be from 0 to {MAX_SCALE:g}.")

    def terms(self, sigma: float) -> Terms:
        terms = dict(self.strategy.terms(sigma))
        for branch, sign in ((PLAIN, 1), (Branch(plan=False), -1)):
            video, audio = terms.get(branch, (0.0, 0.0))
            terms[branch] = (video + sign * (self.video - 1), audio + sign * (self.audio - 1))
        return terms

    branches, possible_branches, combine = Strategy.branches, Strategy.possible_branches, Strategy.combine


@dataclass(frozen=True)
class Strength(Modifier):
    """A strategy whose effect is multiplied by a gain that depends on the noise level. At gain 0 only the plain branch is evaluated."""

    @property
    def linear(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - a constant of the other strategies
        return self.strategy.linear

    @abstractmethod
    def gain(self, sigma: float) -> float:
        """Gain of the strategy at ``sigma``, from 0 to 1."""

    def terms(self, sigma: float) -> Terms:
        gain, inner = self.gain(sigma), self.strategy.terms(sigma)
        if gain == 1:
            return inner
        terms = {branch: (gain * v, gain * a) for branch, (v, a) in inner.items()} if gain else {}
        video, audio = terms.get(PLAIN, (0.0, 0.0))
        return {**terms, PLAIN: (video + 1 - gain, audio + 1 - gain)}

    def branches(self, sigma: float) -> list[Branch]:
        gain = self.gain(sigma)
        return [PLAIN] if not gain else _with_plain(self.strategy.branches(sigma), wanted=gain < 1)

    def combine(self, x: Latents, sigma: float, outputs: Outputs) -> Latents:
        gain = self.gain(sigma)
        if not gain:
            return outputs[PLAIN]
        full = self.strategy.combine(x, sigma, outputs)
        return full if gain == 1 else outputs[PLAIN].map(lambda plain, z: plain.lerp(z, gain), full)


@dataclass(frozen=True)
class Window(Strength):
    """A strategy used only between two noise levels (guidance in a limited interval: Kynkäänniemi et al., 2024)."""

    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.end <= self.start <= 1:
            raise ValueError(f"The window is from {self.start} to {self.end}; it must satisfy 1 >= start >= end >= 0.")

    def gain(self, sigma: float) -> float:
        return float(self.end <= sigma <= self.start)


@dataclass(frozen=True)
class Schedule(Strength):
    """A strategy whose gain is linear in the noise level: ``start`` at noise level 1, ``end`` at 0."""

    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", self.end)):
            if not 0 <= value <= 1:
                raise ValueError(f"The strength at the {name} is {value}; it must be from 0 to 1.")

    def gain(self, sigma: float) -> float:
        return self.start if self.start == self.end else self.end + (self.start - self.end) * min(1.0, sigma)


@dataclass(frozen=True)
class Rescale(Modifier):
    """The guided x0 rescaled towards the standard deviation of the unguided x0 (Lin et al., 2023, eq. 15, 16), by a share for each
    stream."""

    video: float = 0.7
    audio: float = 0.7
    linear = False

    def __post_init__(self) -> None:
        for name, share in (("video", self.video), ("audio", self.audio)):
            if not 0 <= share <= 1:
                raise ValueError(f"The {name} share is {share}; it must be from 0 (off) to 1.")

    def branches(self, sigma: float) -> list[Branch]:
        return _with_plain(self.strategy.branches(sigma), wanted=bool(self.video or self.audio))

    def combine(self, x: Latents, sigma: float, outputs: Outputs) -> Latents:
        guided = self.strategy.combine(x, sigma, outputs)
        if set(outputs) == {PLAIN} or not (self.video or self.audio):
            return guided

        def rescale(z: Tensor, plain: Tensor, share: float) -> Tensor:
            return z * (1 - share + share * _deviation(plain) / _deviation(z).clamp_min(1e-8)) if share else z

        return guided.map(rescale, outputs[PLAIN], Streams(self.video, self.audio))


@dataclass(frozen=True)
class APG(Modifier):
    """Adaptive projected guidance (Sadat et al., 2024). Of each difference plain - branch, the component parallel to the plain x0, which
    causes oversaturation, is multiplied by ``parallel``; the difference's root mean square is limited to ``limit`` (0: no limit).

    The paper limits the norm. The root mean square allows one number for streams of different sizes. The paper's momentum is
    omitted because it needs state from step to step, and a strategy is an immutable value.
    """

    parallel: float = 0.0
    limit: float = 0.0
    linear = False

    def __post_init__(self) -> None:
        _require_linear(self)
        if not 0 <= self.parallel <= 1 or self.limit < 0:
            raise ValueError(
                f"parallel is {self.parallel} and limit {self.limit}; parallel must be from 0 to 1 and limit at least 0 (0: off)."
            )

    @property
    def _neutral(self) -> bool:
        return self.parallel == 1 and not self.limit

    def branches(self, sigma: float) -> list[Branch]:
        return _with_plain(self.strategy.branches(sigma), wanted=not self._neutral)

    def combine(self, x: Latents, sigma: float, outputs: Outputs) -> Latents:
        terms = active_terms(self.strategy.terms(sigma))
        if set(terms) == {PLAIN} or self._neutral:
            return self.strategy.combine(x, sigma, outputs)
        # Each column of weights sums to 1, so that sum_b w_b x0_b = x0 + sum_b -w_b (x0 - x0_b).
        plain, result = outputs[PLAIN], outputs[PLAIN]
        for branch, weights in terms.items():
            if branch != PLAIN:
                step = plain.map(lambda p, z: self._projected(p - z, p), outputs[branch])
                result = result.map(lambda r, s, w: r - w * s, step, Streams(*weights))
        return result

    def _projected(self, difference: Tensor, plain: Tensor) -> Tensor:
        if self.limit:
            rms = difference.square().mean(_inner(difference), keepdim=True).sqrt()
            difference = difference * (self.limit / rms.clamp_min(1e-8)).clamp_max(1)
        along = _projection(difference, plain) * plain
        return difference - (1 - self.parallel) * along


@dataclass(frozen=True)
class CFGZero(Modifier):
    """CFG-zero* (Fan et al., 2025): the velocity of every other branch is first scaled by the projection of the plain velocity onto it.
    Above the noise level ``still`` the velocity is zero and no branch is evaluated."""

    still: float = 1.0
    linear = False

    def __post_init__(self) -> None:
        _require_linear(self)
        if not 0 < self.still <= 1:
            raise ValueError(f"still is {self.still}; it must be above 0 and at most 1 (1: no step is skipped).")

    def branches(self, sigma: float) -> list[Branch]:
        return [] if sigma > self.still else _with_plain(self.strategy.branches(sigma), wanted=True)

    def combine(self, x: Latents, sigma: float, outputs: Outputs) -> Latents:
        if sigma > self.still:
            return x
        terms = active_terms(self.strategy.terms(sigma))
        if set(terms) == {PLAIN}:
            return self.strategy.combine(x, sigma, outputs)
        velocity = {b: x.map(lambda a, z: a - z, z) for b, z in outputs.items()}  # times sigma, which cancels
        scaled = {
            b: v if b == PLAIN else v.map(lambda z, plain: z * _projection(plain, z), velocity[PLAIN])
            for b, v in velocity.items()
        }
        return x.map(lambda a, v: a - v, combine_terms(scaled, terms))


def _require_linear(modifier: Modifier) -> None:
    if not modifier.strategy.linear:
        raise ValueError(
            f"{type(modifier).__name__} modifies the branches' predictions and must come right after the strategy, "
            f"not after {type(modifier.strategy).__name__}. Swap the two."
        )


def _with_plain(branches: list[Branch], *, wanted: bool) -> list[Branch]:
    """``branches`` with the plain branch in front if it is ``wanted`` and absent."""
    return branches if PLAIN in branches or not wanted else [PLAIN, *branches]


def _inner(z: Tensor) -> list[int]:
    """All dimensions except the batch."""
    return list(range(1, z.ndim))


def _deviation(z: Tensor) -> Tensor:
    return z.std(_inner(z), keepdim=True)


def _projection(a: Tensor, onto: Tensor) -> Tensor:
    """<a, onto> / <onto, onto> for each sample."""
    inner = _inner(a)
    return (a * onto).sum(inner, keepdim=True) / onto.square().sum(inner, keepdim=True).clamp_min(1e-8)
