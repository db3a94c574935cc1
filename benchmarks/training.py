"""A training step of the pocket network relative to this machine's fastest matrix product, in the precision that training chooses."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from counting import FlopCounterMode

SIZE = 2048  # of the square matrices whose product is the peak
BATCH = 32


def training_step(batch: int, *, compiled: bool) -> Callable[[], None]:
    """A pass forward and backward over ``batch`` clips of 2 s, as ``training.loop`` computes it."""
    from duet_av.pipelines.core.sizes import ClipShape
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.pocket.load import load_network
    from duet_av.pipelines.training.precision import attention_kernel, training_precision

    network, flags = load_network().requires_grad_(True), torch.ones(batch, dtype=torch.bool)
    x = network.latent_sizes(ClipShape()).map(lambda size: torch.randn(batch, *size))
    text = torch.randn(batch, 16, network.config.text_dim)
    sigma, route = x.map(lambda z: torch.ones(batch, z.shape[2])), Streams(flags, flags)
    run = torch.compile(network) if compiled else network

    def step() -> None:
        with attention_kernel("cpu", bfloat16=True):
            with training_precision("cpu", bfloat16=True):
                out = run(x, sigma, Streams(text, text), route=route)
            (out.both()[0].square().mean() + out.both()[1].square().mean()).backward()
        network.zero_grad(set_to_none=True)

    return step


def share_of_peak(runs: int, *, compiled: bool = False) -> float:
    """Operations a second of a training step, as a share of those of a matrix product in the same precision."""
    from duet_av.pipelines.training.precision import bfloat16_is_fast

    dtype = torch.bfloat16 if bfloat16_is_fast("cpu") else torch.float32
    a, b = torch.randn(2, SIZE, SIZE, dtype=dtype)
    step = training_step(BATCH, compiled=compiled)
    with FlopCounterMode(display=False) as counter:
        training_step(BATCH, compiled=False)()
    work = {step: counter.get_total_flops(), lambda: a @ b: 2 * SIZE**3}
    for run in work:
        run()
    shares = []
    for _ in range(runs):
        rates = []
        for run, operations in work.items():
            begun = time.perf_counter()
            run()
            rates.append(operations / (time.perf_counter() - begun))
        shares.append(rates[0] / rates[1])
    return statistics.median(shares)
