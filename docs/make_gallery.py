"""Write docs/results/gallery*.png: 24 generated clips beside rendered ones of the same captions: ``python docs/make_gallery.py``.

The captions are the first of every stratum of the test list of the bench, with its seeds; none is chosen or left out by its result.
"""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from duet_av.pipelines import Clip
from duet_av.pipelines.bench.prompts import AUDIBLE, TEST, Prompt, bench_prompts
from duet_av.pipelines.bench.readings import render
from duet_av.pipelines.bench.tables import PAGES
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.figures.canvas import STRIP_FRAMES, write_png
from duet_av.pipelines.guidance.strategy import DEFAULT
from duet_av.pipelines.models.pocket.audio_codec import log_mel
from duet_av.pipelines.models.pocket.generate import Request, as_clips, generate
from duet_av.pipelines.models.pocket.load import PocketModel

EACH = 4  # captions of a stratum
STRATA = (*AUDIBLE, "silent", "offscreen")


def strip(clip: Clip) -> torch.Tensor:
    """Evenly spaced frames side by side."""
    picks = torch.linspace(0, len(clip.frames) - 1, STRIP_FRAMES).round().long()
    return torch.cat(list(clip.frames[picks]), dim=1).clamp(0, 1)


def draw(prompts: list[Prompt], rendered: list[Clip], generated: list[Clip]) -> Figure:
    """For each caption frames and spectrogram of both clips: rendered above generated."""
    figure = Figure(figsize=(12, 2.6 * len(prompts)), layout="constrained")
    parts = figure.subplots(2 * len(prompts), 2, squeeze=False, width_ratios=[3, 2])
    for k, prompt in enumerate(prompts):
        for row, name, clip in ((2 * k, "rendered", rendered[k]), (2 * k + 1, "generated", generated[k])):
            picture, sound = parts[row]
            picture.imshow(strip(clip).numpy(), aspect="auto")
            mel = log_mel(clip.waveform[None], sample_rate=clip.sample_rate)[0].mean(0)
            seconds = len(clip.frames) / clip.fps
            sound.imshow(mel, origin="lower", aspect="auto", vmin=-1.4, vmax=2, extent=(0, seconds, 0, len(mel)))
            picture.set(xticks=[], yticks=[], ylabel=name)
            sound.set(yticks=[], xticks=[0, seconds / 2, seconds])
        parts[2 * k, 0].set_title(f"{prompt.text} (seed {prompt.seed})", fontsize=8, loc="left")
    return figure


def main() -> None:
    model, shape = PocketModel.load(), ClipShape()
    for stratum in STRATA:
        prompts = bench_prompts(1000, TEST, strata=(stratum,))[:EACH]
        request = Request([p.text for p in prompts], seed=prompts[0].seed, strategy=DEFAULT, shape=shape)
        rendered = as_clips(*render([p.scene for p in prompts], shape), shape)
        write_png(PAGES / f"gallery-{stratum}.png", draw(prompts, rendered, generate(model, request)))


if __name__ == "__main__":
    main()
