"""One prior block of JavisDiT v0.1 at 240p, 4 s (12,150 video and 448 audio tokens): its two attentions with the prior repeated
for every frame and every location, as the reference runs them, against one copy of each. One JSON object on stdout.

    python benchmarks/prior_attention.py

Each runs in a process of its own, whose peak memory is only its.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
FRAMES, LOCATIONS, AUDIO = 30, 15 * 27, 448
HEADS, WIDTH, TOKENS, PRIORS = 16, 72, 32, 2  # prompt and null
LEAST = 2.0


def measure(kind: str) -> dict[str, float]:
    """Seconds and peak memory in GB above the inputs."""
    import conftest  # noqa: F401 - the pack under its name
    import torch

    from duet_av.kernels.prior_attention import prior_attention

    queries = [torch.randn(1, HEADS, n, WIDTH) for n in (FRAMES * LOCATIONS, AUDIO)]
    k, v = torch.randn(2, PRIORS, HEADS, TOKENS, WIDTH)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for q in queries:
        for copies in (FRAMES, LOCATIONS):
            times = copies if kind == "repeated" else 1
            prior_attention(q, k.repeat(1, 1, times, 1), v.repeat(1, 1, times, 1), own=None)
    taken = time.perf_counter() - begun
    return {f"{kind}_s": taken, f"{kind}_gb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("repeated", "once"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.kind:
        print(json.dumps(measure(arguments.kind)))
        return
    found: dict[str, float] = {}
    for kind in ("repeated", "once"):
        out = subprocess.run([sys.executable, __file__, "--kind", kind], capture_output=True, text=True, check=True)
        found |= json.loads(out.stdout)
    found["ratio"] = found["repeated_s"] / found["once_s"]
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=1))
    sys.exit(found["ratio"] < LEAST)


if __name__ == "__main__":
    main()
