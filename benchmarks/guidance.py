"""Measures the cost of guidance beyond its passes. Prints one JSON object. Both sides of a ratio run alternately in one process.

    python benchmarks/guidance.py [--runs N]

With COMFYUI_PATH set (and run by ComfyUI's Python) it also compares a step of 'Duet Guider' with a step of ComfyUI's CFG guider.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
LIMITS = {"ucg_over_cfg": 1.55, "host_overhead": 0.03}
ROWS = {"text": 512, "audio": 258, "video": 37 * 17 * 30}  # MiniMax H3 at 960 x 544, 124 frames


def ratio(a: Callable[[], object], b: Callable[[], object], runs: int) -> float:
    """The median over ``runs`` of the time of ``a`` divided by the time of ``b``."""
    found = []
    for _ in range(runs):
        times = []
        for call in (a, b):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        found.append(times[0] / times[1])
    return statistics.median(found)


def passes(runs: int) -> float:
    """Time of a three-branch UCG step relative to a two-branch CFG step, pocket model, batch size 4."""
    import conftest  # noqa: F401 - the pack under its name

    from duet_av.pipelines.guidance.strategy import UCG, PerStreamCFG, Strategy
    from duet_av.pipelines.models.pocket.generate import Request, sample
    from duet_av.pipelines.models.pocket.load import PocketModel

    model = PocketModel.load()

    def go(strategy: Strategy) -> None:
        sample(model.network, model.text, Request(["a red ball bounces"] * 4, steps=4, strategy=strategy))

    go(PerStreamCFG())
    return ratio(lambda: go(UCG("U2", 3.0, 3.0, 2.0, 2.0)), lambda: go(PerStreamCFG()), runs)


def host(runs: int) -> float:
    """Relative extra time of 'Duet Guider' over ComfyUI's CFG guider at scale 3, with the same passes."""
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    import comfy.options

    comfy.options.enable_args_parsing(False)
    from comfy.cli_args import args

    args.cpu = True
    import comfy.samplers
    import conftest  # noqa: F401

    import duet_av
    from duet_av.nodes import DuetEmptyLatent, DuetEncodePrompt, DuetGuider, DuetLoadAV
    from duet_av.nodes.host.sample import sample_latent
    from duet_av.pipelines.guidance.strategy import PerStreamCFG

    assert duet_av
    model, clip = DuetLoadAV.execute("auto", "auto", "auto", "auto").args[:2]
    positive, negative = DuetEncodePrompt.execute(clip, "a red ball bounces", "", "").args[:2]
    latent = DuetEmptyLatent.execute(model, 64, 64, 2.0, 16, 4).args[0]
    ours = DuetGuider.execute(model, positive, PerStreamCFG(3.0, 3.0), negative).args[0]
    stock = comfy.samplers.CFGGuider(model)
    stock.set_conds(positive, negative)
    stock.set_cfg(3.0)
    sampler = comfy.samplers.sampler_object("euler")
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 8)
    go = lambda guider: sample_latent(guider, latent, seed=1, sampler=sampler, sigmas=sigmas)  # noqa: E731
    go(stock), go(ours)
    return ratio(lambda: go(ours), lambda: go(stock), runs) - 1


def closed_attention(kind: str) -> tuple[float, float]:
    """Seconds, and peak memory in GB beyond the inputs, of one attention over ``ROWS`` with both directions closed."""
    import conftest  # noqa: F401
    import torch
    import torch.nn.functional as F

    from duet_av.kernels.segment_attention import SegmentSplit, permitted, segment_attention

    edges = [0, ROWS["text"], ROWS["text"] + ROWS["audio"], sum(ROWS.values())]
    segments = [(edges[i], edges[i + 1], name) for i, name in enumerate(ROWS)]
    q, k, v = torch.randn(3, 1, 4, edges[-1], 128)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    if kind == "split":
        segment_attention(F.scaled_dot_product_attention, q, k, v, SegmentSplit.of(segments, a2v=False, v2a=False))
    else:
        allowed, mask = permitted(a2v=False, v2a=False), torch.zeros(edges[-1], edges[-1])
        for a, b, query in segments:
            for c, d, key in segments:
                mask[a:b, c:d] = 0 if key in allowed[query] else -torch.inf
        F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    elapsed = time.perf_counter() - start
    return elapsed, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6


def split_over_mask() -> tuple[float, float]:
    """Time and memory of attention in parts relative to one attention with a mask; one process each, because peak memory is measured per
    process."""
    found = []
    for kind in ("split", "mask"):
        out = subprocess.run([sys.executable, __file__, "--closed", kind], capture_output=True, text=True, check=True)
        found.append(json.loads(out.stdout))
    (seconds, gigabytes), (masked_seconds, masked_gigabytes) = found
    return seconds / masked_seconds, gigabytes / masked_gigabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--closed", choices=("split", "mask"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.closed:
        print(json.dumps(closed_attention(arguments.closed)))
        return
    found = {"ucg_over_cfg": round(passes(arguments.runs), 3)}
    if "COMFYUI_PATH" in os.environ:
        found["host_overhead"] = round(host(arguments.runs), 4)
    found |= dict(zip(("h3_split_over_mask_time", "h3_split_over_mask_memory"), split_over_mask(), strict=True))
    print(json.dumps({**found, "limits": LIMITS}, indent=1))
    sys.exit(any(found.get(name, 0) > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    main()
