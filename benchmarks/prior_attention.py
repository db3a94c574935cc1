"""JavisDiT v0.1 at 240p, 4 s (12,150 video and 448 audio tokens): the prior repeated for every frame and location, as in the reference
implementation, compared with one copy. Measures the two attentions of a prior block, and one layer of the network (all seven blocks,
with embeddings and output heads). Prints one JSON object.

    python benchmarks/prior_attention.py

Each measurement runs in its own process, because peak memory is measured per process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import conftest  # noqa: E402, F401 - the pack under its name
import torch  # noqa: E402

FRAMES, LOCATIONS, AUDIO = 30, 15 * 27, 448
HEADS, WIDTH, TOKENS, PRIORS = 16, 72, 32, 2  # the priors are those of the prompt and of the null text
MIN_SPEEDUP = 2.0


def attentions(repeated: bool) -> Callable[[], object]:
    """The two attentions of both streams' prior blocks."""
    from duet_av.kernels.prior_attention import prior_attention

    queries = [torch.randn(1, HEADS, n, WIDTH) for n in (FRAMES * LOCATIONS, AUDIO)]
    k, v = torch.randn(2, PRIORS, HEADS, TOKENS, WIDTH)

    def run() -> None:
        for q in queries:
            for copies in (FRAMES, LOCATIONS):
                times = copies if repeated else 1
                prior_attention(q, k.repeat(1, 1, times, 1), v.repeat(1, 1, times, 1), own=None)

    return run


def layer(repeated: bool) -> Callable[[], object]:
    """A pass of the network at its released size with one layer instead of 28: one sample that sees the prompt's and the null prior."""
    from duet_av.pipelines.core.conditions import PriorTokens
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.javisdit.v01 import JavisDiT01, V01Config

    network = JavisDiT01(V01Config(depth=1)).eval()
    for parameter in (*network.parameters(), *network.buffers()):
        torch.nn.init.normal_(parameter, std=0.02)
    x = Streams(torch.randn(1, 4, FRAMES, 30, 53), torch.randn(1, 8, AUDIO // 4, 16))
    text, mask = torch.randn(1, 60, 4096), torch.ones(1, 60, dtype=torch.bool)
    spatial, temporal = torch.randn(2, PRIORS, TOKENS, 128)
    prior = (
        PriorTokens(spatial.repeat(1, FRAMES, 1), temporal.repeat(1, LOCATIONS, 1))
        if repeated
        else PriorTokens(spatial, temporal)
    )
    return lambda: network(x, torch.tensor([900.0]), text, mask, prior, size=(240.0, 426.0), fps=24.0)


PARTS = {"attention": attentions, "layer": layer}


def measure(part: str, kind: str) -> dict[str, float]:
    """Seconds, and peak memory in GB beyond that before the run."""
    with torch.inference_mode():
        run = PARTS[part](kind == "repeated")
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        run()
    elapsed = time.perf_counter() - start
    gigabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    return {f"{part}_{kind}_s": elapsed, f"{part}_{kind}_gb": gigabytes}


def both() -> dict[str, float]:
    """Time and memory of both parts, and how many times longer the repeated prior takes."""
    found: dict[str, float] = {}
    for part in PARTS:
        for kind in ("repeated", "once"):
            command = [sys.executable, __file__, "--only", part, kind]
            found |= json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        found[f"{part}_ratio"] = found[f"{part}_repeated_s"] / found[f"{part}_once_s"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(*arguments.only)))
        return
    found = both()
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=1))
    sys.exit(any(found[f"{part}_ratio"] < MIN_SPEEDUP for part in PARTS))


if __name__ == "__main__":
    main()
