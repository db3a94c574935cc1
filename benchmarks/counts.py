"""Counts the costs that a change must not raise unnoticed: operations, bytes and passes. They do not depend on the machine's speed.

    python benchmarks/counts.py

Writes benchmarks/counts.json, with which `tests/test_costs.py` compares a new count.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]
import conftest  # noqa: E402, F401 - the pack under its name
import counting  # noqa: E402
import torch  # noqa: E402

RECORD = Path(__file__).with_suffix(".json")
PROMPT = "a small red ball bounces slowly on the left at night"


def pocket_pass() -> Callable[[], object]:
    """A pass of the pocket network over a clip of 2 s, one sample."""
    from duet_av.pipelines.core.sizes import ClipShape
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.pocket.load import load_network

    network, flags = load_network(), torch.ones(1, dtype=torch.bool)
    x = network.latent_sizes(ClipShape()).map(lambda size: torch.zeros(1, *size))
    text = torch.zeros(1, 16, network.config.text_dim)
    sigma = x.map(lambda z: torch.ones(1, z.shape[2]))
    return lambda: network(x, sigma, Streams(text, text), route=Streams(flags, flags))


def v01_layer() -> Callable[[], object]:
    """A pass of JavisDiT v0.1 at 240p and 4 s with one of its 28 layers, on the meta device."""
    from duet_av.pipelines.core.conditions import PriorTokens
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.javisdit.v01 import JavisDiT01, V01Config

    network = JavisDiT01(V01Config(depth=1), device="meta")
    empty = lambda *shape: torch.empty(1, *shape, device="meta")  # noqa: E731 - one line, used below
    x, prior = Streams(empty(4, 30, 30, 53), empty(8, 112, 16)), PriorTokens(empty(32, 128), empty(32, 128))
    text, mask = empty(100, 4096), torch.ones(1, 100, dtype=torch.bool, device="meta")
    return lambda: network(x, torch.zeros(1, device="meta"), text, mask, prior, size=(240.0, 426.0), fps=24.0)


def v10_layer() -> Callable[[], object]:
    """A pass of JavisDiT v1.0 at 240p and 65 frames with one of its 30 layers, on the meta device."""
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.javisdit.v10 import JavisDiT10, V10Config

    network = JavisDiT10(V10Config(num_layers=1), device="meta")
    empty = lambda *shape: torch.empty(1, *shape, device="meta")  # noqa: E731 - one line, used below
    x, text = Streams(empty(16, 17, 30, 54), empty(8, 104, 16)), empty(512, 4096)
    mask = torch.ones(1, 512, dtype=torch.bool, device="meta")
    return lambda: network(x, torch.zeros(1, device="meta"), text, mask)


def passes(strategy: str) -> int:
    """Rows that the pocket network computes for one clip of 25 steps."""
    from duet_av.pipelines.guidance.strategy import PerStreamCFG, default_strategy
    from duet_av.pipelines.models.pocket.generate import Request, sample
    from duet_av.pipelines.models.pocket.load import load_network, load_text_encoder

    network, rows = load_network(), 0

    def count(_module: object, args: tuple, _out: object) -> None:
        nonlocal rows
        rows += args[0].video.shape[0]

    network.register_forward_hook(count)
    chosen = {"cfg": PerStreamCFG(2.0, 2.0), "default": default_strategy(trained_null=True)}[strategy]
    with torch.inference_mode():
        sample(network, load_text_encoder(), Request([PROMPT], strategy=chosen))
    return rows


def count() -> dict[str, int]:
    """Every count by its name."""
    found: dict[str, int] = {}
    for build in (pocket_pass, v01_layer, v10_layer):
        run = build()
        peak, total = counting.allocated(run)
        found |= {f"{build.__name__}_flops": counting.flops(run)}
        found |= {f"{build.__name__}_peak_bytes": peak, f"{build.__name__}_allocated_bytes": total}
    found |= {f"passes_{strategy}": passes(strategy) for strategy in ("cfg", "default")}
    return found


if __name__ == "__main__":
    RECORD.write_text(json.dumps(count(), indent=1) + "\n", encoding="utf-8")
    print(RECORD.read_text(encoding="utf-8"))
