"""Distances between two sets of features, and scores of class probabilities: the arithmetic of FVD, FAD, KVD, KL and IS.

Each of these names implies the features it was published with (I3D logits, AudioCLIP or VGGish embeddings, PaSST classes). With other
features the same arithmetic gives a different measure, which is never reported under those names.

Letters: n and m samples, d and e features, k and l classes. d and e, and k and l, must be equal; separate letters let the error name both.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

MIN_SAMPLES = 2  # a covariance needs two


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"The features have shapes {tuple(a.shape)} and {tuple(b.shape)}; both must be [samples, channels] with equal channels."
        )
    if min(len(a), len(b)) < MIN_SAMPLES:
        raise ValueError(f"There are {len(a)} and {len(b)} samples; each set needs at least {MIN_SAMPLES}.")
    return a.double(), b.double()


def frechet(a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> float:
    """|mean_a - mean_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)), with unbiased covariances (Heusel et al., 2017).

    Raises:
        ValueError: different numbers of features, or fewer than two samples.
    """
    from scipy.linalg import eigvals

    a, b = _checked(a, b)
    first, second = (torch.atleast_2d(torch.cov(z.T)).numpy() for z in (a, b))
    # Tr (S_a S_b)^(1/2) is the sum of the square roots of the eigenvalues, which are negative only by rounding.
    roots = torch.as_tensor(eigvals(first @ second)).real.clamp_min(0).sqrt()
    spread = first.trace() + second.trace() - 2 * float(roots.sum())
    return float((a.mean(0) - b.mean(0)).square().sum()) + float(spread)


def kernel_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> float:
    """Unbiased squared maximum mean discrepancy under (x . y / d + 1)^3 (Binkowski et al., 2018).

    Raises:
        ValueError: different numbers of features, or fewer than two samples.
    """
    a, b = _checked(a, b)
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3  # noqa: E731 - one line, used three times
    within = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (kernel(a, a), kernel(b, b))]
    return float(within[0] + within[1] - 2 * kernel(a, b).mean())


def divergence(reference: Float[Tensor, "n k"], generated: Float[Tensor, "m l"]) -> float:
    """Mean KL(reference || generated) of class probabilities over corresponding samples, in nats.

    Raises:
        ValueError: the shapes differ.
    """
    reference, generated = (z.double().clamp_min(1e-12) for z in (reference, generated))
    if reference.shape != generated.shape:
        raise ValueError(
            f"The class probabilities have shapes {tuple(reference.shape)} and {tuple(generated.shape)}; they must be equal, because "
            "samples are compared in pairs."
        )
    return float((reference * (reference / generated).log()).sum(1).mean())


def inception_score(probabilities: Float[Tensor, "n k"]) -> float:
    """exp of the mean KL(p(class | sample) || p(class)) (Salimans et al., 2016)."""
    marginal = probabilities.mean(0, keepdim=True).expand_as(probabilities)
    return math.exp(divergence(probabilities, marginal))
