"""Guidance strategies: which branches to evaluate at a noise level, and how to combine their predictions.

A branch is one evaluation of the network under some conditions. Branches with zero weight are not evaluated, so neutral
scales, windows and schedules have no cost. Predictions are of x0, separately for each stream.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from torch import Tensor

from ..core.streams import Latents, Streams

MAX_SCALE = 100.0
Denoise = Callable[[Latents, float], Latents]
Outputs = Mapping["Branch", Latents]


@dataclass(frozen=True)
class Branch:
    """One evaluation: with the text or the null text, with or without the plan, and with each cross-modal direction open or closed.

    A closed direction attends to the learnable context tokens only. With ``masked`` it adds nothing instead: the only option for a
    network without context tokens, and not a condition that any network was trained with.
    """

    text: bool = True
    a2v: bool = True
    v2a: bool = True
    masked: bool = False
    plan: bool = True


PLAIN = Branch()
Terms = dict[Branch, tuple[float, float]]  # weights for video and for audio; each column sums to 1


def active_terms(terms: Terms) -> Terms:
    """The branches with a weight other than zero."""
    return {branch: weights for branch, weights in terms.items() if any(weights)}


def combine_terms(outputs: Outputs, terms: Terms) -> Latents:
    """The weighted sum of the branches' predictions, with separate weights for each stream."""

    def total(stream: str, column: int) -> Tensor | None:
        pairs = ((w[column], getattr(outputs[branch], stream)) for branch, w in terms.items() if w[column])
        parts: list[Tensor] = [w * z for w, z in pairs if z is not None]
        return reduce(add, parts) if parts else None

    return Streams(total("video", 0), total("audio", 1))


class Strategy(ABC):
    """A guidance rule. A linear strategy is fully described by its ``terms``."""

    linear = True

    @abstractmethod
    def terms(self, sigma: float) -> Terms:
        """The branches and their weights at the noise level ``sigma`` in 0..1."""

    def branches(self, sigma: float) -> list[Branch]:
        """The branches to evaluate at ``sigma``."""
        return list(active_terms(self.terms(sigma)))

    def possible_branches(self) -> list[Branch]:
        """All branches that may be evaluated at some noise level."""
        return self.branches(1.0)

    def combine(self, x: Latents, sigma: float, outputs: Outputs) -> Latents:
        """x0 from the noisy latents and the branches' x0."""
        return combine_terms(outputs, active_terms(self.terms(sigma)))


def check_scale(name: str, value: float) -> None:
    """Check a guidance scale.

    Raises:
        ValueError: ``value`` outside 0 to ``MAX_SCALE``; the message starts with ``name``.
    """
    if not 0 <= value <= MAX_SCALE:
        raise ValueError(f"{name} is {value}; it must be from 0 to {MAX_SCALE:g}. 1 is off; typical values are 2 to 5.")


@dataclass(frozen=True)
class PerStreamCFG(Strategy):
    """Classifier-free guidance with a scale s for each stream: x0(null) + s (x0(text) - x0(null)). Scale 1 is no guidance."""

    video: float = 3.0
    audio: float = 3.0

    def __post_init__(self) -> None:
        for name, scale in (("video", self.video), ("audio", self.audio)):
            check_scale(f"The {name} guidance scale", scale)

    def terms(self, sigma: float) -> Terms:
        return {PLAIN: (self.video, self.audio), Branch(text=False): (1 - self.video, 1 - self.audio)}


@dataclass(frozen=True)
class Form:
    """One way to combine the text scale t and the context scale c: weights of x0(y,x), x0(0,x), x0(y,k), x0(0,k), where y is the
    text, 0 the null text, x the other stream and k the null of the cross-modal direction. ``label`` is the name in the user interface."""

    label: str
    weights: Callable[[float, float], tuple[float, float, float, float]]


# CCL (arXiv 2603.18600) gives no equation for UCG; these forms are our reconstruction. fsum rounds once, so that a neutral
# scale leaves the other scale exactly unchanged.
FORMS = {
    "U1": Form("text and sync as one (U1)", lambda t, c: (t, 0.0, 0.0, 1 - t)),
    "U2": Form("text, then sync (U2)", lambda t, c: (c, 0.0, t - c, 1 - t)),
    "U2'": Form("sync, then text (U2')", lambda t, c: (t, c - t, 0.0, 1 - c)),
    "U3": Form("text and sync side by side (U3)", lambda t, c: (math.fsum((t, c, -1)), 1 - t, 1 - c, 0.0)),
    "U4": Form("text only (U4)", lambda t, c: (t, 1 - t, 0.0, 0.0)),
    "U5": Form("sync only (U5)", lambda t, c: (c, 0.0, 1 - c, 0.0)),
}


@dataclass(frozen=True)
class UCG(Strategy):
    """CCL's unconditional context guidance: a closed cross-modal direction attends to its context tokens and serves as the null.

    ``video`` and ``audio`` scale the text, ``a2v`` and ``v2a`` the other stream. U1 and U4 use only the text scales, U5 only
    the cross-modal ones. With ``masked`` a closed direction adds nothing: cross-modal guidance with an untrained null.
    """

    form: str = "U2"
    video: float = 3.0
    audio: float = 3.0
    a2v: float = 2.0
    v2a: float = 2.0
    masked: bool = False

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"The form is {self.form!r}; it must be one of {', '.join(FORMS)}.")
        for name in ("video", "audio", "a2v", "v2a"):
            check_scale(f"The scale {name}", getattr(self, name))

    def terms(self, sigma: float) -> Terms:
        closed = Branch(a2v=False, v2a=False, masked=self.masked)
        branches = (PLAIN, Branch(text=False), closed, replace(closed, text=False))
        weights = FORMS[self.form].weights
        columns = weights(self.video, self.a2v), weights(self.audio, self.v2a)
        return dict(zip(branches, zip(*columns, strict=True), strict=True))


# Chosen on the development prompts; results in docs/results/guidance.md.
DEFAULT = UCG("U2'", video=2.0, audio=2.0, a2v=3.0, v2a=3.0)
# An untrained null ruins clips at the scales that suit a trained one; results in docs/results/modality-pocket-ltx2.md.
DEFAULT_UNTRAINED = PerStreamCFG(2.0, 2.0)


def default_strategy(*, trained_null: bool) -> UCG | PerStreamCFG:
    """The guidance of a network if none is chosen; ``trained_null``: whether it was trained without the other stream."""
    return DEFAULT if trained_null else DEFAULT_UNTRAINED


def guided(evaluate: Callable[[Sequence[Branch], Latents, float], Sequence[Latents]], strategy: Strategy) -> Denoise:
    """A denoiser that evaluates the strategy's branches together and combines them."""

    def denoise(x: Latents, sigma: float) -> Latents:
        branches = strategy.branches(sigma)
        outputs = evaluate(branches, x, sigma) if branches else []
        return strategy.combine(x, sigma, dict(zip(branches, outputs, strict=True)))

    return denoise


def passes_per_step(strategy: Strategy, sigma: float = 1.0) -> int:
    """Number of network evaluations per step at ``sigma``."""
    return len(strategy.branches(sigma))
