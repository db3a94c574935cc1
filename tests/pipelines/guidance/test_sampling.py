"""Samplers on data with a known solution, schedules and initial noise."""

import math

import pytest
import torch

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.sampling import FIRST_ORDER, euler, flow_sigmas, heun, initial_noise, multistep

MEAN, DEVIATION = 0.7, 0.5


def gaussian_denoiser(x, sigma):
    """E[x0 | x] for x0 ~ N(mean, deviation^2) and x = (1 - sigma) x0 + sigma n."""
    keep = 1 - sigma
    gain = keep * DEVIATION**2 / (keep**2 * DEVIATION**2 + sigma**2)
    return x.map(lambda z: MEAN + gain * (z - keep * MEAN))


def error(sampler, steps):
    """From sigma 1 the flow carries n to mean + deviation * n exactly."""
    noise = Streams(torch.randn(64, dtype=torch.float64), torch.randn(32, dtype=torch.float64))
    out = sampler(gaussian_denoiser, noise, torch.linspace(1, 0, steps + 1, dtype=torch.float64))
    return max((z - (MEAN + DEVIATION * n)).abs().max().item() for z, n in zip(out, noise, strict=True))


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2)])
def test_samplers_converge_at_their_order(sampler, order):
    torch.manual_seed(0)
    coarse = error(sampler, 100)
    torch.manual_seed(0)
    fine = error(sampler, 200)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def test_multistep_extrapolates_at_high_noise_alone():
    """A denoiser that is linear in log sigma is integrated exactly down to the level of Euler steps, and by Euler steps below it."""
    levels, slope = flow_sigmas(8), 0.3
    high = levels[levels > FIRST_ORDER]
    denoise = lambda _x, sigma: Streams(torch.tensor([slope * math.log(sigma)], dtype=torch.float64))  # noqa: E731
    start = Streams(torch.tensor([2.0], dtype=torch.float64))
    found = multistep(denoise, start, high).video.item()
    # dx/dsigma = (x - c log sigma) / sigma has the solution x = (x(1) - c) sigma + c log sigma + c.
    first = euler(denoise, start, high[:2]).video.item()
    at, end = high[1].item(), high[-1].item()
    constant = (first - slope * math.log(at) - slope) / at
    exact = constant * end + slope * math.log(end) + slope
    assert found == pytest.approx(exact, abs=2e-3)
    assert abs(euler(denoise, start, high).video.item() - exact) > 5e-3
    below = levels[levels <= FIRST_ORDER]
    assert multistep(denoise, start, below[:-1]).video == euler(denoise, start, below[:-1]).video


def test_multistep_accepts_a_repeated_level():
    levels = torch.tensor([1.0, 0.9, 0.9, 0.8, 0.0])
    assert multistep(gaussian_denoiser, Streams(torch.randn(4)), levels).video.isfinite().all()


@pytest.mark.parametrize("sampler", [euler, heun, multistep])
def test_absent_stream_stays_absent(sampler):
    out = sampler(gaussian_denoiser, Streams(None, torch.randn(8)), flow_sigmas(3))
    assert out.video is None
    assert out.audio.shape == (8,)


def test_progress_is_called_after_every_step():
    seen = []
    euler(gaussian_denoiser, Streams(torch.randn(4)), flow_sigmas(5), progress=lambda step, _: seen.append(step))
    assert seen == [1, 2, 3, 4, 5]


def test_schedule_decreases_from_one_to_zero():
    sigmas = flow_sigmas(25)
    assert (len(sigmas), sigmas[0].item(), sigmas[-1].item()) == (26, 1.0, 0.0)
    assert (sigmas.diff() < 0).all()
    assert torch.allclose(flow_sigmas(4, shift=1.0), torch.linspace(1, 0, 5))


@pytest.mark.parametrize("steps", [0, -3, 1001])
def test_invalid_numbers_of_steps_are_refused(steps):
    with pytest.raises(ValueError, match=f"steps is {steps}; it must be from 1 to 1000"):
        flow_sigmas(steps)


def test_noise_of_a_clip_does_not_depend_on_its_batch():
    sizes = Streams((3, 2, 4, 4), (5, 8))
    batch, single = initial_noise(sizes, [4, 5, 6]), initial_noise(sizes, [5])
    assert torch.equal(batch.video[1:2], single.video)
    assert torch.equal(batch.audio[1:2], single.audio)


def test_noise_equals_the_hosts_for_one_clip():
    noise = initial_noise(Streams((3, 2, 4, 4), (5, 8)), [9])
    torch.manual_seed(9)
    assert torch.equal(noise.video, torch.randn(1, 3, 2, 4, 4))
    assert torch.equal(noise.audio, torch.randn(1, 5, 8))
