"""Guidance as a value: a strategy says which branches to evaluate at a noise level and with which weights.

A branch is one evaluation of the network under other conditions. Because a branch whose weights are nought is not
evaluated, neutral scales cost nothing by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from torch import Tensor

from .streams import Streams

MAX_SCALE = 100.0
Latents = Streams[Tensor]
Denoise = Callable[[Latents, float], Latents]


@dataclass(frozen=True)
class Branch:
    """One evaluation: with the text or the null text, with each cross-modal direction open or on context tokens alone."""

    text: bool = True
    a2v: bool = True
    v2a: bool = True


Terms = dict[Branch, tuple[float, float]]  # weights for video and for audio; each column sums to 1


@runtime_checkable
class Strategy(Protocol):
    """A linear guidance rule over x0 predictions."""

    def terms(self, sigma: float) -> Terms:
        """The branches and their weights at noise level ``sigma`` in 0..1."""
        ...


@dataclass(frozen=True)
class PerStreamCFG:
    """Classifier-free guidance with a scale for each stream: x0(null) + s (x0(text) - x0(null)). Scale 1 is no guidance."""

    video: float = 3.0
    audio: float = 3.0

    def __post_init__(self) -> None:
        for name, scale in (("video", self.video), ("audio", self.audio)):
            if not 0 <= scale <= MAX_SCALE:
                raise ValueError(
                    f"The {name} guidance scale is {scale}; it must be from 0 to {MAX_SCALE:g}. 2 to 4 is usual."
                )

    def terms(self, sigma: float) -> Terms:
        return {Branch(): (self.video, self.audio), Branch(text=False): (1 - self.video, 1 - self.audio)}


@dataclass(frozen=True)
class Apart:
    """Another strategy with each stream on its context tokens alone: what the unimodal branch makes by itself."""

    strategy: Strategy

    def terms(self, sigma: float) -> Terms:
        terms = self.strategy.terms(sigma)
        return {replace(branch, a2v=False, v2a=False): weights for branch, weights in terms.items()}


def needed(terms: Terms) -> Terms:
    """The branches that have any weight."""
    return {branch: weights for branch, weights in terms.items() if any(weights)}


def combine(outputs: Sequence[Latents], weights: Sequence[tuple[float, float]]) -> Latents:
    """The weighted sum of the branches' predictions, for each stream with its own weights."""
    sums: list[Tensor | None] = []
    for stream, column in zip(("video", "audio"), zip(*weights, strict=True), strict=True):
        parts = [
            (w, getattr(out, stream))
            for w, out in zip(column, outputs, strict=True)
            if w and getattr(out, stream) is not None
        ]
        total = None
        for w, value in parts:
            total = w * value if total is None else total + w * value
        sums.append(total)
    return Streams(*sums)


def guided(evaluate: Callable[[Sequence[Branch], Latents, float], Sequence[Latents]], strategy: Strategy) -> Denoise:
    """A denoiser that evaluates the strategy's branches together and combines them."""

    def denoise(x: Latents, sigma: float) -> Latents:
        terms = needed(strategy.terms(sigma))
        return combine(evaluate(list(terms), x, sigma), list(terms.values()))

    return denoise


def passes_per_step(strategy: Strategy, sigma: float = 1.0) -> int:
    """How many evaluations of the network one step costs at ``sigma``."""
    return len(needed(strategy.terms(sigma)))
