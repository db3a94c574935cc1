"""A block of JavisDiT v1.0 beside the reference implementation: the same weights, inputs and precision, in one process, alternately.

    git clone https://github.com/JavisVerse/JavisDiT
    python benchmarks/javisdit_reference.py JavisDiT [--runs 5] [--frames 5] [--dtype bfloat16]

Prints the difference of the outputs, our bytes and our time relative to the reference's. Both attend through
`scaled_dot_product_attention`, because the reference's flash attention needs a GPU. Nothing of the reference is imported but the file
of its network; modules that it needs only for training and loading are replaced by empty ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]
import conftest  # noqa: E402, F401 - the pack under its name
import counting  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

ROWS, COLUMNS, MEL = 15, 27, 8  # tokens of a frame at 240p, and of an audio latent
GOALS = {"time": 0.95, "allocated": 1.05}
DIM, HIDDEN, HEADS, TEXT = 1536, 8960, 12, 512
NETWORK = Path("javisdit", "models", "wan", "modules", "model.py")


def attention(q: Tensor, k: Tensor, v: Tensor, **_: object) -> Tensor:
    """Takes the reference's layout [b, l, h, d]."""
    return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def _stand_in(name: str, **contents: object) -> None:
    module = types.ModuleType(name)
    module.__path__ = []
    module.__spec__ = ModuleSpec(name, None, is_package=True)
    vars(module).update(contents)
    sys.modules[name] = module


def reference_module(folder: Path) -> Any:
    """The module of the reference's network in its checkout ``folder``."""
    path = folder / NETWORK
    if not path.is_file():
        raise SystemExit(
            f"{folder} is not a checkout of JavisDiT: {NETWORK} is missing. Clone its repository and name its folder."
        )
    for name in ("javisdit", "javisdit.utils", "javisdit.acceleration", "javisdit.models", "javisdit.models.layers"):
        _stand_in(name)
    _stand_in("javisdit.utils.misc", get_logger=lambda: None, requires_grad=None)
    _stand_in("javisdit.utils.ckpt_utils", load_checkpoint=None)
    _stand_in("javisdit.acceleration.checkpoint", auto_grad_checkpoint=None)
    _stand_in("javisdit.models.layers.blocks", CaptionEmbedder=None, approx_gelu=None)
    _stand_in("javisdit_wan")
    names = (
        "flash_attention",
        "attnetion_with_mask",
        "flash_attention_varlen",
    )  # the second is the reference's spelling
    _stand_in("javisdit_wan.attention", **dict.fromkeys(names, attention))
    spec = importlib.util.spec_from_file_location("javisdit_wan.model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(folder: Path, frames: int, dtype: torch.dtype) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """A pass through our block and one through the reference's, with one sample."""
    from duet_av.pipelines.models.javisdit.layers import pair_table
    from duet_av.pipelines.models.javisdit.v10 import Block, V10Config, rotations, sdpa

    wan, audio = reference_module(folder), 4 * frames
    theirs = wan.AudioVideoAttentionBlock(
        "t2v_cross_attn", DIM, HIDDEN, HEADS, cross_attn_norm=True, use_audio=True, use_video=True
    )
    ours = Block(V10Config(), operations=nn)
    ours.load_state_dict(theirs.state_dict())
    ours, theirs = ours.to(dtype).eval(), theirs.to(dtype).eval()
    video, sound = frames * ROWS * COLUMNS, audio * MEL
    x, text = torch.randn(1, video + sound, DIM, dtype=dtype), torch.randn(1, TEXT, DIM, dtype=dtype)
    e, audio_e = torch.randn(1, 6, DIM), torch.randn(1, 3, DIM)
    places = wan.get_video_audio_position_ids((1, 1, frames, ROWS, COLUMNS), (1, 1, audio, MEL), device="cpu")
    width = DIM // HEADS
    third = 2 * (width // 6)
    complex_table = wan.rope_cos_sin(wan.inv_freq([width - 2 * third, third, third]), torch.cat(places))
    table = pair_table(rotations((frames, ROWS, COLUMNS, audio, MEL), width)).float()
    levels = e.to(dtype), audio_e.to(dtype)

    def our_pass() -> Tensor:
        return ours(x, levels, text, video=video, rotary=table, split=None, attend=sdpa)

    def their_pass() -> Tensor:
        return theirs(x, e, audio_e, None, None, complex_table, text, None, video, sound)

    return our_pass, their_pass


def measure(folder: Path, *, runs: int, frames: int, dtype: torch.dtype) -> dict[str, float]:
    """Ratios of ours to the reference's, and the largest difference of the outputs relative to their largest value."""
    torch.manual_seed(0)
    passes, times = blocks(folder, frames, dtype), []
    with torch.inference_mode():
        ours, theirs = (run() for run in passes)
        for _ in range(runs):
            pair = []
            for run in passes:
                begun = time.perf_counter()
                run()
                pair.append(time.perf_counter() - begun)
            times.append(pair[0] / pair[1])
    (our_peak, our_total), (their_peak, their_total) = (counting.allocated(run) for run in passes)
    return {
        "difference": float((ours - theirs).abs().max() / theirs.abs().max()),
        "time": statistics.median(times),
        "peak": our_peak / their_peak,
        "allocated": our_total / their_total,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a checkout of the reference implementation")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--frames", type=int, default=5, help="latent frames of video; four times as many of audio")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    args = parser.parse_args()
    found = measure(args.folder, runs=args.runs, frames=args.frames, dtype=getattr(torch, args.dtype))
    print(json.dumps({"goals": GOALS, **{name: round(value, 7) for name, value in found.items()}}, indent=1))


if __name__ == "__main__":
    main()
