"""Write docs/images/clip.webp, a generated clip above its timeline: ``python docs/make_image.py CLIP.mp4 TIMELINE.png``.

Both files come from ``duet generate PROMPT -o CLIP.mp4 --timeline TIMELINE.png``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from duet_av.pipelines import read_mp4

WIDTH, PICTURE = 640, 256  # pixels
TARGET = Path(__file__).parent / "images" / "clip.webp"


def axis_bounds(timeline: Image.Image) -> tuple[int, int]:
    """First and last column [pixels] of the time axis: the longest run of dark pixels in one row is the axes' frame."""
    dark = np.asarray(timeline.convert("L")) < 80
    row = dark[int(dark.sum(1).argmax())]
    columns = np.flatnonzero(row)
    return int(columns[0]), int(columns[-1])


def main(clip_path: Path, timeline_path: Path) -> None:
    clip = read_mp4(clip_path)
    full = Image.open(timeline_path).convert("RGB")
    left, right = (x * WIDTH / full.width for x in axis_bounds(full))
    timeline = full.resize((WIDTH, round(full.height * WIDTH / full.width)), Image.Resampling.LANCZOS)
    frames = []
    for k, pixels in enumerate((clip.frames * 255).round().byte().numpy()):
        canvas = Image.new("RGB", (WIDTH, PICTURE + timeline.height), "white")
        picture = Image.fromarray(pixels).resize((PICTURE, PICTURE), Image.Resampling.LANCZOS)
        canvas.paste(picture, ((WIDTH - PICTURE) // 2, 0))
        canvas.paste(timeline, (0, PICTURE))
        x = left + (right - left) * k / len(clip.frames)
        ImageDraw.Draw(canvas).line([(x, PICTURE), (x, canvas.height)], fill="#d22", width=2)
        frames.append(canvas)
    TARGET.parent.mkdir(exist_ok=True)
    duration = round(1000 / clip.fps)
    frames[0].save(TARGET, save_all=True, append_images=frames[1:], duration=duration, loop=0, quality=70, method=4)
    print(TARGET, TARGET.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
