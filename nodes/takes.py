"""Many takes: made, ranked and compared."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..pipelines.bench.takes import ANY, SCORES, Takes, compare, sweep, takes_of, write_csv
from ..pipelines.models.pocket.generate import DEFAULT_STEPS
from . import inputs
from .host.output import new_output
from .host.sample import default_sampler, schedule, with_stated_rate
from .host.takes import first_clip, sweep_folder, takes_from, taking, together
from .types import CATEGORY
from .types import Takes as TakesSocket

NAMES = ("a", "b", "c", "d")


class DuetSeedSweep(io.ComfyNode):
    """Samples many seeds and keeps the best."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSeedSweep",
            display_name="Duet Seed Sweep",
            category=CATEGORY,
            description="Samples one seed after the other through any guider and sampler, measures each clip, and keeps the best. Every "
            "take that is done stays in the output folder: a sweep that is cancelled goes on where it was, and one that asks for "
            "more seeds makes those alone.",
            search_aliases=["seeds", "best of n", "rank", "batch"],
            inputs=[
                io.Guider.Input("guider"),
                io.Latent.Input("latent", tooltip="Of one clip; each seed makes one."),
                io.Vae.Input("video_vae"),
                io.Vae.Input("audio_vae"),
                inputs.seed("The first seed; the others follow it."),
                io.Int.Input("takes", default=8, min=1, max=1000, tooltip="How many seeds."),
                io.Int.Input("keep", default=3, min=1, max=64, tooltip="How many of them come out, best first."),
                io.Combo.Input(
                    "score",
                    options=list(SCORES),
                    default=ANY,
                    tooltip="What takes are ranked by: 0 to 1, higher is better. The second knows the pocket world alone.",
                ),
                io.String.Input("label", default="", tooltip="The setting's name where sweeps are compared."),
                io.Int.Input(
                    "steps", default=DEFAULT_STEPS, min=1, max=1000, tooltip="Not used where sigmas are connected."
                ),
                io.Sampler.Input("sampler", optional=True, tooltip="Default: euler."),
                io.Sigmas.Input("sigmas", optional=True, tooltip="Default: the schedule the model was made for."),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The kept takes as a batch, best first."),
                io.Int.Output(display_name="best_seed"),
                io.Image.Output(display_name="picture", tooltip="A contact sheet of the kept takes."),
                TakesSocket.Output(display_name="takes", tooltip="Every take in numbers, for 'Duet Compare Takes'."),
                io.String.Output(display_name="report"),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        guider: Any,
        latent: dict,
        video_vae: io.Vae.Type,
        audio_vae: io.Vae.Type,
        seed: int,
        takes: int,
        keep: int,
        score: str,
        label: str,
        steps: int,
        sampler: object | None = None,
        sigmas: Tensor | None = None,
    ) -> io.NodeOutput:
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.takes import draw_takes

        sigmas = schedule(guider.model_patcher, latent, steps) if sigmas is None else sigmas
        latent = with_stated_rate(latent, guider)
        vaes, seeds = (video_vae, audio_vae), range(seed, seed + takes)
        make = taking(guider, latent, vaes, sampler=sampler or default_sampler(), sigmas=sigmas, score=score)
        graph = (cls.hidden.prompt or {}) if cls.hidden else {}
        folder = sweep_folder(graph, str(cls.hidden.unique_id) if graph else "", latent, guider)
        best = sweep(folder, seeds, make, keep=keep)
        found = takes_of(folder, seeds, label or f"seeds {seed} to {seeds[-1]}")
        clips = [first_clip(together(latent, [tensors]), vaes) for _, tensors in best]
        picture = pixels(draw_takes(clips, [take for take, _ in best], title=str(found)))[None]
        kept = together(latent, [tensors for _, tensors in best])
        return io.NodeOutput(kept, best[0][0].seed, picture, found, str(found))


class DuetCompareTakes(io.ComfyNode):
    """Compares sweeps, or clips, in numbers and in a picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        either = [io.Video, TakesSocket]
        return io.Schema(
            node_id="DuetCompareTakes",
            display_name="Duet Compare Takes",
            category=CATEGORY,
            description="Compares up to four settings: sweeps, by every take's score with intervals and on the seeds they share, or "
            "single videos of any model or camera. All numbers go into a CSV file.",
            search_aliases=["a/b", "compare", "csv", "ablation"],
            is_output_node=True,
            inputs=[
                *(
                    io.MultiType.Input(
                        name, types=either, optional=name != NAMES[0], tooltip="A sweep's takes, or a video."
                    )
                    for name in NAMES
                ),
                io.String.Input("filename_prefix", default="duet/takes", tooltip="Of the CSV file; a number is added."),
            ],
            outputs=[io.Image.Output(display_name="picture"), io.String.Output(display_name="report")],
        )

    @classmethod
    def execute(cls, filename_prefix: str, **given: Takes | io.Video.Type) -> io.NodeOutput:
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.takes import draw_comparison

        settings = [takes_from(name, given[name]) for name in NAMES if given.get(name) is not None]
        report, path = compare(settings), new_output(filename_prefix, ".csv")
        write_csv(path, settings)
        report = f"{report}\n{path.name}"
        return io.NodeOutput(pixels(draw_comparison(settings))[None], report, ui=ui.PreviewText(report))
