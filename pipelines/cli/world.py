"""``duet world``: render clips of the procedural world with their exact events."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..core.files import atomic_output


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet world``."""
    parser.add_argument("--count", type=int, default=4, help="number of clips (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scenes (default 0)")
    parser.add_argument(
        "--stratum",
        default="",
        help="kind of scene: single, sequential, simultaneous, muted, offscreen or reasoning (default: a mix)",
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="length of the clips (default 2)")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="output folder for scene-0.mp4, scene-0.json, ..."
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Render the scenes and write their clips and events."""
    from tqdm import tqdm

    from ..core.sizes import ClipShape
    from ..core.streams import Clip
    from ..media.mp4 import write_mp4
    from ..world import caption, make_scene, render_picture, render_sound

    shape = ClipShape(seconds=arguments.seconds)
    scenes = [
        make_scene(arguments.seed, k, stratum=arguments.stratum, split="any", seconds=arguments.seconds)
        for k in range(arguments.count)
    ]
    arguments.output.mkdir(parents=True, exist_ok=True)
    for k, scene in enumerate(tqdm(scenes, desc="world", unit="clip")):
        frames = render_picture([scene], shape)[0].permute(0, 2, 3, 1)
        waveform = render_sound([scene], samples=shape.samples, sample_rate=shape.sample_rate)[0]
        write_mp4(arguments.output / f"scene-{k}.mp4", Clip(frames, float(shape.fps), waveform, shape.sample_rate))
        truth = {"caption": caption(scene), **scene.to_json()}
        with atomic_output(arguments.output / f"scene-{k}.json") as temporary:
            temporary.write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
