"""Samplers of a rectified flow. They only call ``denoise(x, sigma)`` and know nothing of guidance, routes or parameterisation.

x = (1 - sigma) x0 + sigma noise, so dx/dsigma = (x - x0) / sigma.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.keep import KeepMask, expand_over_latent
from ..core.streams import Latents, Streams
from .strategy import Denoise

Progress = Callable[[int, Latents], object]  # called with the number of finished steps and the predicted x0
SHIFT = 3.0
FIRST_ORDER = 0.55  # noise level at and below which ``multistep`` takes Euler steps


def keep_clean(denoise: Denoise, mask: KeepMask) -> Denoise:
    """A denoiser that sees kept latent frames clean (noise level 0), as in training, and returns them unchanged."""

    def restore(z: Tensor, clean: Tensor, regenerate: Tensor) -> Tensor:
        return torch.lerp(clean, z, expand_over_latent(regenerate, z))

    def keep(x: Latents, sigma: float) -> Latents:
        clean = mask.latents, mask.regenerate
        return denoise(x.map(restore, *clean), sigma).map(restore, *clean)

    return keep


def flow_sigmas(steps: int, *, shift: float = SHIFT) -> Float[Tensor, " levels"]:
    """Noise levels from 1 down to 0, moved towards 1 by s' = shift s / (1 + (shift - 1) s) (Esser et al., 2024, eq. 23).

    Raises:
        ValueError: ``steps`` outside 1 to 1000.
    """
    if not 1 <= steps <= 1000:
        raise ValueError(f"steps is {steps}; it must be from 1 to 1000.")
    s = torch.linspace(1, 0, steps + 1)
    return shift * s / (1 + (shift - 1) * s)


def initial_noise(sizes: Streams[tuple[int, ...]], seeds: Sequence[int]) -> Latents:
    """Standard normal latents [b, *size]. Clip k depends on ``seeds[k]`` only, not on the rest of the batch.

    Video is drawn first, then audio, from one CPU generator: the numbers are the same on every machine, and for batch size 1 they
    equal ComfyUI's.
    """
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        rows.append(sizes.map(lambda size, g=generator: torch.randn(1, *size, generator=g)))
    return Streams(
        *(
            None if first is None else torch.cat([getattr(row, name) for row in rows])
            for name, first in zip(("video", "audio"), rows[0], strict=True)
        )
    )


def _slope(x: Latents, x0: Latents, sigma: float) -> Latents:
    """dx/dsigma = (x - x0) / sigma."""
    return x.map(lambda a, b: (a - b) / sigma, x0)


def _move(x: Latents, slope: Latents, delta: float) -> Latents:
    return x.map(lambda a, d: a + d * delta, slope)


def euler(denoise: Denoise, x: Latents, sigmas: Tensor, *, progress: Progress | None = None) -> Latents:
    """Euler's method: order 1, one evaluation per step."""
    levels = sigmas.tolist()
    for i, (sigma, following) in enumerate(pairwise(levels)):
        x0 = denoise(x, sigma)
        x = _move(x, _slope(x, x0, sigma), following - sigma)
        if progress:
            progress(i + 1, x0)
    return x


def heun(denoise: Denoise, x: Latents, sigmas: Tensor, *, progress: Progress | None = None) -> Latents:
    """Heun's method: order 2, the mean of the slopes at both ends of a step. The last step, to sigma 0, is an Euler step."""
    levels = sigmas.tolist()
    for i, (sigma, following) in enumerate(pairwise(levels)):
        x0 = denoise(x, sigma)
        slope = _slope(x, x0, sigma)
        ahead = _move(x, slope, following - sigma)
        if following > 0:
            corrected = _slope(ahead, denoise(ahead, following), following)
            ahead = _move(x, slope.map(lambda a, b: (a + b) / 2, corrected), following - sigma)
        x = ahead
        if progress:
            progress(i + 1, x0)
    return x


def multistep(denoise: Denoise, x: Latents, sigmas: Tensor, *, progress: Progress | None = None) -> Latents:
    """DPM-Solver++(2M) (Lu et al., 2022) down to sigma ``FIRST_ORDER``, Euler's method below it: one evaluation per step.

    Where sigma stays above that level, x0 is extrapolated in log sigma from the last two evaluations. Below it, the ratio of successive
    levels grows so fast that the extrapolation overshoots: with 8 steps, sounds came from the wrong side.
    """
    levels, before = sigmas.tolist(), None
    for i, (sigma, following) in enumerate(pairwise(levels)):
        x0 = denoise(x, sigma)
        target = x0
        if before is not None and following > FIRST_ORDER and levels[i - 1] > sigma:
            half = math.log(sigma / following) / math.log(levels[i - 1] / sigma) / 2
            target = x0.map(lambda now, last, k=half: (1 + k) * now - k * last, before)
        x = _move(x, _slope(x, target, sigma), following - sigma)
        before = x0
        if progress:
            progress(i + 1, x0)
    return x


SAMPLERS = {"euler": euler, "heun": heun, "multistep": multistep}
