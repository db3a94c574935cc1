"""Generating, ranking and comparing several takes."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..pipelines.bench.takes import ANY, SCORES, Takes, compare, sweep, takes_of, write_csv
from ..pipelines.core.conditions import Plan
from . import inputs
from .host.latent import require_vaes
from .host.notice import show
from .host.output import new_output
from .host.sample import announcement, default_sampler, schedule, with_facts
from .host.takes import first_clip, sweep_folder, takes_from, taking, together
from .types import CATEGORY
from .types import Plan as PlanSocket
from .types import Takes as TakesSocket

NAMES = ("a", "b", "c", "d")


class DuetSeedSweep(io.ComfyNode):
    """Samples several seeds and keeps the best clips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSeedSweep",
            display_name="Duet Seed Sweep",
            category=CATEGORY,
            description="Samples several seeds one after another with any guider and sampler, measures each clip, and keeps the "
            "best. Finished takes are stored in the output folder: a cancelled sweep resumes where it stopped, and if "
            "you raise the number of takes, only the new seeds are sampled.",
            search_aliases=["seeds", "best of n", "rank", "batch"],
            inputs=[
                io.Guider.Input("guider", tooltip="The model, prompts and guidance, e.g. from 'Duet Guider'."),
                io.Latent.Input("latent", tooltip="A latent with batch size 1; one clip is generated per seed."),
                io.Vae.Input("video_vae", tooltip="The video VAE of the model."),
                io.Vae.Input("audio_vae", tooltip="The audio VAE of the model."),
                inputs.seed("First noise seed. Take k uses seed + k."),
                io.Int.Input("takes", default=8, min=1, max=1000, tooltip="Number of seeds to sample."),
                io.Int.Input("keep", default=3, min=1, max=64, tooltip="Number of takes to output, best first."),
                io.Combo.Input(
                    "score",
                    options=list(SCORES),
                    default=ANY,
                    tooltip="The score by which takes are ranked: 0 to 1, higher is better. The second option only works on "
                    "clips of the pocket model; the third is the share of planned events at their times, and needs a plan.",
                ),
                io.String.Input(
                    "label", default="", tooltip="Name of this setting in 'Duet Compare Takes'. Empty: the seed range."
                ),
                inputs.steps(
                    "Number of sampling steps. Ignored if sigmas are connected.",
                ),
                *inputs.sampling(),
                PlanSocket.Input(
                    "plan", optional=True, tooltip="What was asked for, if the takes are ranked by the planned times."
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The best takes as a batch, best first."),
                io.Int.Output(display_name="best_seed", tooltip="The seed of the best take."),
                io.Image.Output(
                    display_name="picture", tooltip="Frames and waveform of each kept take, with seed and score."
                ),
                TakesSocket.Output(
                    display_name="takes", tooltip="The measurements of all takes, for 'Duet Compare Takes'."
                ),
                io.String.Output(display_name="report", tooltip="Mean and best score as text."),
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
        plan: Plan | None = None,
    ) -> io.NodeOutput:
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.takes import draw_takes

        sigmas = schedule(guider.model_patcher, latent, steps) if sigmas is None else sigmas
        latent = with_facts(latent, guider)
        vaes, seeds = (video_vae, audio_vae), range(seed, seed + takes)
        require_vaes(latent, *vaes)
        sampler = sampler or default_sampler(guider)
        shown = show(cls, announcement(guider, latent, sampler, sigmas, takes=takes))
        make = taking(guider, latent, vaes, sampler=sampler, sigmas=sigmas, score=score, plan=plan)
        graph = (cls.hidden.prompt or {}) if cls.hidden else {}
        folder = sweep_folder(graph, str(cls.hidden.unique_id) if graph else "", latent, guider, plan)
        best = sweep(folder, seeds, make, keep=keep)
        found = takes_of(folder, seeds, label or f"seeds {seed} to {seeds[-1]}")
        clips = [first_clip(together(latent, [tensors]), vaes) for _, tensors in best]
        picture = pixels(draw_takes(clips, [take for take, _ in best], title=str(found)))[None]
        kept = together(latent, [tensors for _, tensors in best])
        return io.NodeOutput(kept, best[0][0].seed, picture, found, str(found), ui=shown)


class DuetCompareTakes(io.ComfyNode):
    """Compares sweeps or clips as numbers and as a plot."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        either = [io.Video, TakesSocket]
        return io.Schema(
            node_id="DuetCompareTakes",
            display_name="Duet Compare Takes",
            category=CATEGORY,
            description="Compares up to four settings. Sweeps are compared by the scores of all takes, with confidence intervals and "
            "paired by seed; single videos may come from any model or camera. All measurements are saved as CSV.",
            search_aliases=["a/b", "compare", "csv", "ablation"],
            is_output_node=True,
            inputs=[
                *(
                    io.MultiType.Input(
                        name,
                        types=either,
                        optional=name != NAMES[0],
                        tooltip="The takes of a 'Duet Seed Sweep', or a video with audio.",
                    )
                    for name in NAMES
                ),
                io.String.Input(
                    "filename_prefix",
                    default="duet/takes",
                    tooltip="Folder and name of the CSV file in the output folder. A number is appended; nothing is overwritten.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="picture",
                    tooltip="A plot of all scores, with the mean and 95 % interval of each setting.",
                ),
                io.String.Output(display_name="report", tooltip="The comparison as text, also shown on the node."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, filename_prefix: str, **connected: Takes | io.Video.Type) -> io.NodeOutput:
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.takes import draw_comparison

        settings = [takes_from(name, connected[name]) for name in NAMES if connected.get(name) is not None]
        report, path = compare(settings), new_output(filename_prefix, ".csv")
        write_csv(path, settings)
        report = f"{report}\n{path.name}"
        return io.NodeOutput(pixels(draw_comparison(settings))[None], report, ui=show(cls, report))
