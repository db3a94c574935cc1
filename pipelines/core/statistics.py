"""Statistics of the benches: paired bootstrap over prompts and training seeds, normalised synchrony, and Holm's adjustment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

BOOTSTRAP = 10_000  # resamples of the prompts
SEED_DRAWS = 4000  # resamples of training seeds and prompts
SYNC = ("sync_f1", "sync_chance", "sync_ceiling")
Runs = Sequence[Sequence[dict[str, float]]]  # training seed -> prompt -> scores


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval over ``n`` prompts; ``p`` is two-sided and only set for differences."""

    mean: float
    low: float
    high: float
    n: int
    p: float | None = None

    def to_json(self) -> dict[str, object]:
        """The interval as an entry of a table."""
        value: dict[str, object] = {"mean": round(self.mean, 4), "ci95": [round(self.low, 4), round(self.high, 4)]}
        return value | {"n": self.n} | ({} if self.p is None else {"p": round(self.p, 5)})


def _resampled(columns: Sequence[Sequence[float]]) -> torch.Tensor:
    """Bootstrap means of several columns over the same resampled prompts: [columns, resamples]."""
    values = torch.tensor(columns, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(values.shape[1], (BOOTSTRAP, values.shape[1]), generator=generator)
    return torch.stack([column[picks].mean(1) for column in values])


def _interval(mean: float, draws: torch.Tensor, n: int, *, difference: bool = False) -> Interval:
    low, high = torch.quantile(draws, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    p = None
    if difference:
        # One draw is added to the tail: a finite number of draws cannot show a probability of 0.
        tail = min(int((draws <= 0).sum()), int((draws >= 0).sum())) + 1
        p = min(1.0, 2 * tail / (BOOTSTRAP + 1))
    return Interval(mean, low, high, n, p)


def mean_interval(values: Sequence[float], *, difference: bool = False) -> Interval:
    """Mean of one number per prompt with its bootstrap interval."""
    return _interval(sum(values) / len(values), _resampled([values])[0], len(values), difference=difference)


def _between(f: torch.Tensor, chance: torch.Tensor, ceiling: torch.Tensor) -> torch.Tensor:
    """Position of ``f`` between ``chance`` (0) and ``ceiling`` (1)."""
    return (f - chance) / (ceiling - chance).clamp_min(1e-6)


def normalised(f1_values: Sequence[float], chance: Sequence[float], ceiling: Sequence[float]) -> Interval:
    """(mean F1 - mean chance) / (mean ceiling - mean chance): a ratio of means, never a mean of ratios.

    Raises:
        ValueError: the mean ceiling is not above the mean of chance.
    """
    columns = [list(f1_values), list(chance), list(ceiling)]
    means = torch.tensor(columns, dtype=torch.float64).mean(1)
    if means[2] <= means[1]:
        raise ValueError(
            f"The ceiling {means[2]:.3f} is not above chance {means[1]:.3f}: synchrony cannot be measured on these clips."
        )
    return _interval(float(_between(*means)), _between(*_resampled(columns)), len(f1_values))


def normalised_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Interval:
    """Difference of two ``normalised`` values over the same prompts, each as (F1, chance, ceiling); paired bootstrap."""
    columns = [*a, *b]
    means, draws = torch.tensor(columns, dtype=torch.float64).mean(1), _resampled(columns)
    mean = float(_between(*means[:3]) - _between(*means[3:]))
    return _interval(mean, _between(*draws[:3]) - _between(*draws[3:]), len(a[0]), difference=True)


def over_seeds(runs: Runs, base: Runs | None = None) -> dict[str, Interval]:
    """Means with 95 % bootstrap intervals over training seeds and, within them, prompts. With ``base``, from the same seeds and prompts,
    the paired differences ``runs`` - ``base``. Prompts that lack a score are left out of its mean."""
    names = list(dict.fromkeys(name for run in runs for scores in run for name in scores))
    sides = [
        torch.tensor([[[s.get(name, math.nan) for s in run] for run in side] for name in names], dtype=torch.float64)
        for side in (runs, base or ())
        if side
    ]
    seeds, prompts = sides[0].shape[1:]
    generator = torch.Generator().manual_seed(0)
    draw = lambda n: torch.randint(n, (n,), generator=generator)  # noqa: E731 - a resample of n things
    picks = [(torch.arange(seeds), torch.arange(prompts)), *((draw(seeds), draw(prompts)) for _ in range(SEED_DRAWS))]
    means = torch.stack([_means(sides, names, *pick) for pick in picks])
    names = [*names, *(["sync_normalised"] if set(SYNC) <= set(names) else [])]
    low, high = torch.nanquantile(means[1:], torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return {
        name: Interval(float(means[0, k]), float(low[k]), float(high[k]), prompts * seeds)
        for k, name in enumerate(names)
    }


def _means(
    sides: Sequence[torch.Tensor], names: Sequence[str], seeds: torch.Tensor, prompts: torch.Tensor
) -> torch.Tensor:
    """Mean of each score over one resample, and the normalised synchrony of these means; a second side is subtracted."""
    totals = []
    for table in sides:
        means = table[:, seeds][:, :, prompts].nanmean((1, 2))
        if set(SYNC) <= set(names):
            means = torch.cat([means, _between(*(means[names.index(name)] for name in SYNC))[None]])
        totals.append(means)
    return totals[0] - totals[1] if len(totals) == 2 else totals[0]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family's p-values (Holm, 1979), in the order of ``p_values``."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
