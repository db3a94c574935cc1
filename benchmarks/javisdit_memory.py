"""Working memory of one pass of JavisDiT at its released size, counted without computing it, compared with the estimate for ComfyUI.

    COMFYUI_PATH=... PYTHON_OF_COMFYUI benchmarks/javisdit_memory.py [--branches 2]

Every tensor that a pass allocates is counted on the meta device. Attention is assumed to allocate only its output, as fused kernels
do. Memory that a GPU's allocator and kernels need in addition is not included.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]
from counting import allocated  # noqa: E402

SIZES = {"240p": (240, 426), "480p": (480, 854)}  # height and width in pixels
LIMIT = 0.2  # largest relative error of the estimate


def host() -> tuple[dict[str, Any], Callable[..., float]]:
    """The model classes, and the function that estimates memory for ComfyUI."""
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    import comfy.options

    comfy.options.enable_args_parsing(False)
    from comfy.cli_args import args

    args.cpu = True
    import conftest  # noqa: F401 - the pack under its name

    from duet_av.nodes.host.javisdit import KINDS, sampling_bytes

    return KINDS, sampling_bytes


def network_pass(name: str, video: tuple[int, ...], audio: tuple[int, ...], branches: int) -> Callable[[], Any]:
    """One pass of the network ``name`` over latents of the sizes ``video`` and ``audio`` with batch size ``branches``."""
    from duet_av.pipelines.core.conditions import PriorTokens
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.javisdit.v01 import JavisDiT01, V01Config
    from duet_av.pipelines.models.javisdit.v10 import JavisDiT10, V10Config

    empty = lambda *shape: torch.empty(branches, *shape, dtype=torch.bfloat16, device="meta")  # noqa: E731 - one line, used below
    x, t = Streams(empty(*video), empty(*audio)), torch.zeros(branches, device="meta")
    if name == "JavisDiT v0.1":
        network = JavisDiT01(V01Config(), dtype=torch.bfloat16, device="meta")
        text, mask = empty(100, 4096), torch.ones(branches, 100, dtype=torch.bool, device="meta")
        prior = PriorTokens(empty(64, 128), empty(64, 128), torch.arange(branches, device="meta"))
        return lambda: network(x, t, text, mask, prior, size=(240.0, 426.0), fps=24.0)
    network = JavisDiT10(V10Config(), dtype=torch.bfloat16, device="meta")
    text, mask = empty(512, 4096), torch.ones(branches, 512, dtype=torch.bool, device="meta")
    return lambda: network(x, t, text, mask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--branches", type=int, default=2)
    branches = parser.parse_args().branches
    kinds, sampling_bytes = host()
    F.scaled_dot_product_attention = lambda q, k, v, **_: torch.empty_like(q)  # pyright: ignore
    worst = 0.0
    for name, (_, model) in kinds.items():
        for label, (height, width) in SIZES.items():
            frames = model.clock.frames(4.0, model.clock.fps)
            video, audio = (
                model.clock.video_latent(frames, height, width),
                model.clock.audio_latent(frames, model.clock.fps),
            )
            run = network_pass(name, video, audio, branches)
            peak, _ = allocated(run)
            estimate = sampling_bytes(name, height=height, width=width, seconds=4.0) * branches / 2
            worst = max(worst, abs(estimate / peak - 1))
            print(
                f"{name} {label} 4 s, {branches} branches: counted {peak / 1e9:.2f} GB, estimate {estimate / 1e9:.2f} GB "
                f"({estimate / peak:.2f})"
            )
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
