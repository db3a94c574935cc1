"""Distances between two sets of features, and scores of class probabilities: the arithmetic of FVD, FAD, KVD, KL and IS.

The names belong to the features they were published with (I3D's logits, AudioCLIP's or VGGish's embeddings, PaSST's classes): with
others the numbers are another measure, and are never printed under those names.

Letters: n and m samples, d and e features, k and l classes, which must be as many (errors say so).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

LEAST = 2  # samples without which there is no covariance


def _both(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"Features are of shapes {tuple(a.shape)} and {tuple(b.shape)}; both must be [samples, channels] alike."
        )
    if min(len(a), len(b)) < LEAST:
        raise ValueError(f"There are {len(a)} and {len(b)} samples; each side needs at least {LEAST}.")
    return a.double(), b.double()


def frechet(a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> float:
    """|mean_a - mean_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)), covariances unbiased (Heusel et al., 2017).

    Raises:
        ValueError: shapes that differ, or fewer than two samples.
    """
    from scipy.linalg import eigvals

    a, b = _both(a, b)
    first, second = (torch.atleast_2d(torch.cov(z.T)).numpy() for z in (a, b))
    # The eigenvalues of a product of covariances are not negative but for rounding; its root's trace is the sum of theirs.
    roots = torch.as_tensor(eigvals(first @ second)).real.clamp_min(0).sqrt()
    spread = first.trace() + second.trace() - 2 * float(roots.sum())
    return float((a.mean(0) - b.mean(0)).square().sum()) + float(spread)


def kernel_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> float:
    """Unbiased squared maximum mean discrepancy under (x . y / d + 1)^3 (Binkowski et al., 2018).

    Raises:
        ValueError: shapes that differ, or fewer than two samples.
    """
    a, b = _both(a, b)
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3  # noqa: E731 - used thrice
    within = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (kernel(a, a), kernel(b, b))]
    return float(within[0] + within[1] - 2 * kernel(a, b).mean())


def divergence(truth: Float[Tensor, "n k"], made: Float[Tensor, "m l"]) -> float:
    """Mean KL(truth || made) of class probabilities, pair by pair, in nats.

    Raises:
        ValueError: shapes that differ.
    """
    truth, made = (z.double().clamp_min(1e-12) for z in (truth, made))
    if truth.shape != made.shape:
        raise ValueError(f"Probabilities are of shapes {tuple(truth.shape)} and {tuple(made.shape)}; pairs are needed.")
    return float((truth * (truth / made).log()).sum(1).mean())


def inception_score(made: Float[Tensor, "n k"]) -> float:
    """exp of the mean KL(p(class | sample) || p(class)) (Salimans et al., 2016)."""
    return float(torch.tensor(divergence(made, made.mean(0, keepdim=True).expand_as(made))).exp())
