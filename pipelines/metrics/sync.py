"""Synchrony as a number: F1 of the events heard against the events seen, between chance and the codecs' ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from .events import Events, match

BOOTSTRAP = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval over ``n`` prompts."""

    mean: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, object]:
        return {"mean": round(self.mean, 4), "ci95": [round(self.low, 4), round(self.high, 4)], "n": self.n}


def _resampled(columns: Sequence[Sequence[float]]) -> torch.Tensor:
    """Bootstrap means of several columns over the same resampled prompts: [resamples, columns]."""
    values = torch.tensor(columns, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(values.shape[1], (BOOTSTRAP, values.shape[1]), generator=generator)
    return values[:, picks].mean(-1).T


def _interval(mean: float, draws: torch.Tensor, n: int) -> Interval:
    low, high = torch.quantile(draws, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(mean, low, high, n)


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean of one number per prompt."""
    return _interval(sum(values) / len(values), _resampled([values])[:, 0], len(values))


def normalised(f1_values: Sequence[float], chance: Sequence[float], ceiling: Sequence[float]) -> Interval:
    """(mean F1 - mean chance) / (mean ceiling - mean chance): a ratio of means, never a mean of ratios.

    Raises:
        ValueError: the ceiling is not above chance, so that there is nothing to measure between them.
    """
    n = len(f1_values)
    f, c, top = (sum(column) / n for column in (f1_values, chance, ceiling))
    if top <= c:
        raise ValueError(f"the ceiling {top:.3f} is not above chance {c:.3f}: these clips cannot measure synchrony.")
    draws = _resampled([f1_values, chance, ceiling])
    return _interval((f - c) / (top - c), (draws[:, 0] - draws[:, 1]) / (draws[:, 2] - draws[:, 1]).clamp_min(1e-6), n)


def offset(heard: Events, seen: Events) -> float | None:
    """Median signed offset in seconds (positive: sound late) of the matched events, ``None`` if none match."""
    gaps = [a - v for kind in heard for a, v in match(heard[kind], seen.get(kind, ()))]
    return median(gaps) if gaps else None
