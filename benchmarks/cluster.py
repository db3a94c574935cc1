"""Measures how work spreads over processes and over Ray. Prints one JSON object.

    python benchmarks/cluster.py [--pieces N] [--repeats N]

A piece is one clip of the pocket model, computed with one thread, as in ``duet generate``. Needs two free processor cores and the extra
[cluster]. In each repeat every way computes the same pieces, one way after another, after a warm-up in which workers load the model:

- ``here``: in this process with one thread;
- ``ray_1``, ``ray_2``: on a Ray that is started on this computer, with one and with two pieces at once.

``overhead`` is the time of ray_1 over that of here, minus 1; ``speedup`` the time of ray_1 over that of ray_2; both are means over the
repeats with 95 % bootstrap intervals. ``start_s`` is what the start of Ray and its workers takes in addition, once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], os.environ.get("PYTHONPATH", "")])  # of Ray's workers

import torch

from duet_av.pipelines.cluster.executor import Executor, Processes
from duet_av.pipelines.cluster.on_ray import LOCAL, OnRay, connected
from duet_av.pipelines.core.statistics import mean_interval
from duet_av.pipelines.models.pocket.generate import Request, generate
from duet_av.pipelines.models.pocket.load import PocketModel

PROMPT = "a small red ball bounces slowly on the left at night"
STEPS = 12  # about a second for a piece


@cache
def model() -> PocketModel:
    """The model, loaded once in each process."""
    return PocketModel.load()


def piece(seed: int) -> str:
    """The hash of the clip of a seed."""
    (clip,) = generate(model(), Request([PROMPT], seed=seed, steps=STEPS))
    return hashlib.sha256(clip.frames.numpy().tobytes() + clip.waveform.numpy().tobytes()).hexdigest()


def timed(executor: Executor, pieces: int) -> tuple[float, list[str]]:
    """Seconds for ``pieces``, and their hashes."""
    start = time.perf_counter()
    found = list(executor.map(piece, range(pieces)))
    return time.perf_counter() - start, found


def interval(values: list[float]) -> dict[str, float]:
    """Mean and 95 % interval."""
    found = mean_interval(values, difference=True)
    return {"mean": round(found.mean, 4), "low": round(found.low, 4), "high": round(found.high, 4)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    with connected(LOCAL, 2) as both:
        list(both.map(piece, range(4)))
        started = time.perf_counter() - start
        ways: dict[str, Executor] = {"here": Processes(), "ray_1": OnRay(1), "ray_2": both}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        clips = set()
        list(Processes().map(piece, range(1)))
        for repeat in range(options.repeats):
            for name in list(ways)[:: 1 if repeat % 2 else -1]:  # a drift of the machine's speed cancels
                taken, found = timed(ways[name], options.pieces)
                seconds[name].append(taken)
                clips.add(tuple(found))

    def ratio(a: str, b: str) -> list[float]:
        return [x / y for x, y in zip(seconds[a], seconds[b], strict=True)]

    report = {
        "pieces": options.pieces,
        "repeats": options.repeats,
        "cores": len(os.sched_getaffinity(0)),
        "start_s": round(started, 2),
        "seconds": {name: interval(values) for name, values in seconds.items()},
        "overhead": interval([value - 1 for value in ratio("ray_1", "here")]),
        "speedup": interval(ratio("ray_1", "ray_2")),
        "same_results": len(clips) == 1,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    import cluster  # under its name: a worker cannot import the functions of __main__

    cluster.main()
