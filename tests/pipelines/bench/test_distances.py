"""Distances between features against independent formulas in numpy and scipy."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.special import rel_entr

from duet_av.pipelines.sync.distances import divergence, frechet, inception_score, kernel_distance


def features(n, d, seed, *, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator) @ torch.randn(d, d, generator=generator) + shift


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 8), (64, 64, 32), (20, 30, 40)])
def test_frechet_equals_the_formula_with_a_matrix_square_root(n, m, d):
    a, b = features(n, d, 1).double().numpy(), features(m, d, 2, shift=0.5).double().numpy()
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(first @ second + 1e-9 * np.eye(d) * (d > n)).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert frechet(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-3)


def test_frechet_equals_the_formula_with_singular_values():
    # Tr (S_a S_b)^(1/2) is the sum of the singular values of S_a^(1/2) S_b^(1/2), which needs no square root of a product
    a, b = features(20, 40, 3).double().numpy(), features(25, 40, 4).double().numpy()
    a0, b0 = (a - a.mean(0)) / np.sqrt(19), (b - b.mean(0)) / np.sqrt(24)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.square(a0).sum() + np.square(b0).sum()
    expected -= 2 * np.linalg.svd(a0 @ b0.T, compute_uv=False).sum()
    assert frechet(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_equals_the_sum_over_pairs():
    a, b = features(12, 5, 5).double().numpy(), features(9, 5, 6, shift=0.3).double().numpy()
    kernel = lambda x, y: (np.dot(x, y) / 5 + 1) ** 3  # noqa: E731 - one line, used three times
    within = [np.mean([kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]) for z in (a, b)]
    expected = sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-9)


def test_divergence_and_inception_score_equal_relative_entropy():
    p, q = (features(30, 7, seed).double().softmax(1) for seed in (7, 8))
    assert divergence(p, q) == pytest.approx(float(rel_entr(p.numpy(), q.numpy()).sum(1).mean()), rel=1e-9)
    marginal = p.numpy().mean(0, keepdims=True)
    expected = float(np.exp(rel_entr(p.numpy(), np.broadcast_to(marginal, p.shape)).sum(1).mean()))
    assert inception_score(p) == pytest.approx(expected, rel=1e-9)
