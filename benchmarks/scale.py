"""Clips a day on 1, 8 and 64 GPUs, by simulation. ARITHMETIC, not a measurement: no GPU was used.

    python benchmarks/scale.py [--utilisation 0.2 0.35 0.5] [--seed 0] [--json FILE]

Counted: the floating-point operations of a network pass (meta device, released sizes), the steps of the example graphs, and the passes of
their guidance. Measured: the CPU time that ranking one clip takes. Everything else is an assumption, listed in ``Assumptions``. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import conftest  # noqa: E402, F401 - the pack under its name

from duet_av.pipelines.core.conditions import PriorTokens  # noqa: E402
from duet_av.pipelines.core.streams import Streams  # noqa: E402
from duet_av.pipelines.guidance.strategy import UCG, PerStreamCFG, passes_per_step  # noqa: E402
from duet_av.pipelines.models.javisdit.clock import V01_CLOCK, V10_CLOCK  # noqa: E402
from duet_av.pipelines.models.javisdit.v01 import JavisDiT01, V01Config  # noqa: E402
from duet_av.pipelines.models.javisdit.v10 import JavisDiT10, V10Config  # noqa: E402

DAY = 86_400.0
GPUS = (1, 8, 64)


@dataclass(frozen=True)
class Assumptions:
    """What the simulation assumes. Times in seconds."""

    peak: float = 989e12  # operations a second, bfloat16 without sparsity: data sheet of an H100 or H200 (SXM)
    utilisation: float = 0.35  # share of the peak that a pass reaches
    beside: float = 0.15  # text encoder, VAEs and file, as a share of the time of all passes
    fixed: float = 2.0  # further time of each clip that does not depend on its size
    spread: float = 0.05  # standard deviation of a clip's time, as a share of it
    read_rate: float = 1e9  # bytes a second at which a model is read from disk
    start: float = 60.0  # from starting a server to its first request
    days_between_losses: float = 14.0  # of one GPU: the clip that it works on is lost
    repair: float = 1800.0  # until it runs again
    poll: float = 1.0  # between looks into the history of a server ('duet sweep --servers' without websockets)
    download: float = 0.2  # of a clip
    rank: float = (
        0.6  # CPU time of measuring a clip, measured: 97 frames of 768 x 512, 'motion', one thread; one clip at a time
    )


@dataclass(frozen=True)
class Work:
    """One clip of a model: operations of a pass of each size, how often each is computed, and the bytes of the weights."""

    name: str
    clip: str
    tokens: int
    steps: int
    passes: int
    pass_flops: float
    weights: float

    @property
    def flops(self) -> float:
        """Operations of all passes of a clip."""
        return self.steps * self.passes * self.pass_flops


def inputs_of(example: str, kind: str) -> dict[str, Any]:
    """The inputs of the node of class ``kind`` in an example graph."""
    graph = json.loads((ROOT / "workflows" / "api" / f"{example}.json").read_text())
    return next(node["inputs"] for node in graph.values() if node["class_type"] == kind)


def counted(network: torch.nn.Module, call: Any) -> tuple[float, float]:
    """Operations of ``call``, and the bytes of the network's weights in bfloat16."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call(network)
    return float(counter.get_total_flops()), 2.0 * sum(p.numel() for p in network.parameters())


def ltx2() -> Work:
    """LTX-2 (19B) as in the graph ltx2_crossmodal: text guidance and guidance by the other stream."""
    from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformer3DModel

    from duet_av.pipelines.models.ltx2.network import LTX2Network
    from duet_av.pipelines.models.ltx2.sizes import LTX2Sizes

    graph = "ltx2_crossmodal"
    size, rate = inputs_of(graph, "EmptyLTXVLatentVideo"), inputs_of(graph, "LTXVEmptyLatentAudio")["frame_rate"]
    scales, steps = inputs_of(graph, "DuetStrategyCrossModal"), inputs_of(graph, "LTXVScheduler")["steps"]
    latent = ((size["length"] - 1) // 8 + 1, size["height"] // 32, size["width"] // 32)
    audio = round(size["length"] / rate * 25)
    names = ("video", "audio", "audio_to_video", "video_to_audio")
    strategy = UCG("U3", *(scales[name] for name in names), masked=True)
    with torch.device("meta"):
        transformer = LTX2VideoTransformer3DModel(rope_type="split")
        network = LTX2Network(LTX2Sizes.of_diffusers(transformer.config), transformer)
        x = Streams(torch.empty(1, 128, *latent), torch.empty(1, 128, audio))
        text = Streams(*(torch.empty(1, 1024, 3840) for _ in range(2)))
        sigma = Streams(torch.empty(1, 1), torch.empty(1, 1))
        found = counted(network, lambda net: net(x, sigma, text, fps=rate))
    tokens = latent[0] * latent[1] * latent[2] + audio
    clip = f"{size['width']} x {size['height']}, {size['length']} frames"
    return Work("LTX-2, 18.9 billion parameters", clip, tokens, steps, passes_per_step(strategy), *found)


def javisdit(version: str) -> Work:
    """JavisDiT as in its example graph: text guidance."""
    graph, clock = ("javisdit_v10", V10_CLOCK) if version == "v1.0" else ("javisdit_v01_prior", V01_CLOCK)
    size, scales = inputs_of(graph, "DuetEmptyLatent"), inputs_of(graph, "DuetStrategyCFG")
    frames = clock.frames(size["seconds"], clock.fps)
    latent, audio = clock.video_latent(frames, size["height"], size["width"]), clock.audio_latent(frames, clock.fps)
    with torch.device("meta"):
        x = Streams(torch.empty(1, *latent), torch.empty(1, *audio))
        if version == "v1.0":
            text, mask = torch.empty(1, 512, 4096), torch.ones(1, 512, dtype=torch.bool)
            found = counted(JavisDiT10(V10Config()), lambda net: net(x, torch.empty(1), text, mask))
            audio_tokens = audio[1] * audio[2] // 4
        else:
            prior = PriorTokens(torch.empty(1, 32, 128), torch.empty(1, 32, 128))
            sides, text = (float(size["height"]), float(size["width"])), torch.empty(1, 300, 4096)
            call = lambda net: net(x, torch.empty(1), text, None, prior, size=sides, fps=float(clock.fps))  # noqa: E731
            found = counted(JavisDiT01(V01Config()), call)
            audio_tokens = audio[1] * audio[2] // 4
    tokens = latent[1] * -(-latent[2] // 2) * -(-latent[3] // 2) + audio_tokens
    clip = f"{size['width']} x {size['height']}, {frames} frames"
    passes = passes_per_step(PerStreamCFG(scales["video"], scales["audio"]))
    return Work(f"JavisDiT {version}", clip, tokens, inputs_of(graph, "DuetSampler")["steps"], passes, *found)


def gpu_day(work: Work, given: Assumptions, draw: random.Random) -> tuple[list[float], Counter[str]]:
    """One GPU for a day: when its clips are collected, and how many seconds it spends on what."""
    passes = work.flops / (given.peak * given.utilisation)
    load, spent, done = given.start + work.weights / given.read_rate, Counter[str](), []
    now, lost = load, draw.expovariate(1 / (given.days_between_losses * DAY))
    spent["starts and losses"] += load
    while now < DAY:
        own = {
            "network": passes * max(0.5, draw.gauss(1, given.spread)),
            "text, VAEs, file": given.beside * passes + given.fixed,
        }
        own["waiting for the client"] = draw.uniform(0, given.poll) + given.download
        end = now + sum(own.values())
        if lost < end:
            now = lost + given.repair + load
            spent["starts and losses"] += now - min(lost, DAY)
            lost = now + draw.expovariate(1 / (given.days_between_losses * DAY))
            continue
        spent.update(own)
        now = end
        if now < DAY:
            done.append(now)
    return done, spent


def simulate(work: Work, gpus: int, given: Assumptions, *, seed: int) -> dict[str, Any]:
    """A day of ``gpus`` servers and of the process that ranks their clips one at a time."""
    draw = random.Random(seed)
    days = [gpu_day(work, given, draw) for _ in range(gpus)]
    free, ranked = 0.0, 0
    for collected in heapq.merge(*(done for done, _ in days)):
        free = max(free, collected) + given.rank
        ranked += free < DAY
    spent = sum((part for _, part in days), Counter[str]())
    total = sum(spent.values())
    clips = sum(len(done) for done, _ in days)
    return {
        "utilisation": given.utilisation,
        "gpus": gpus,
        "clips_a_day": clips,
        "ranked": ranked,
        "gpu_seconds_a_clip": round(gpus * DAY / clips, 1),
        "shares": {name: round(value / total, 3) for name, value in spent.most_common()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utilisation", type=float, nargs="+", default=[0.2, Assumptions.utilisation, 0.5])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    settings = [replace(Assumptions(), utilisation=value) for value in options.utilisation]
    works = [ltx2(), javisdit("v0.1"), javisdit("v1.0")]
    report = {
        "what": "arithmetic by simulation, not a measurement",
        "seed": options.seed,
        "assumptions": asdict(Assumptions()),
        "models": [
            {
                **asdict(work),
                "clip_flops": work.flops,
                "days": [simulate(work, gpus, given, seed=options.seed) for given in settings for gpus in GPUS],
            }
            for work in works
        ],
    }
    text = json.dumps(report, indent=1)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
