"""Training add-ons in the graph."""

from __future__ import annotations

from comfy_api.latest import io

from . import inputs
from .host.notice import show
from .host.training import STAGES, WORLD, clip_files, job_of, require_training, train_add_on
from .types import CATEGORY


class DuetTrainAddOn(io.ComfyNode):
    """Trains layers for the pocket models on cached clips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetTrainAddOn",
            display_name="Duet Train Add-On",
            category=CATEGORY,
            description="Trains plan, prior or adapter layers for the pocket model, or context tokens for pocket LTX-2, on clips of "
            "'duet data' or of the pocket world. The loss is shown while it runs. A cancelled run keeps its checkpoint: run the node again "
            "to go on. 'Duet Load Add-On' loads the result after you press R.",
            search_aliases=["fine-tune", "lora", "training", "add-on"],
            is_output_node=True,
            inputs=[
                io.Combo.Input("kind", options=list(STAGES), tooltip="What is trained. The base model is frozen."),
                io.Combo.Input(
                    "clips",
                    options=clip_files(),
                    default=WORLD,
                    tooltip="A file of 'duet data' in models/duet or in the pack's runs folder, or clips that are rendered on the first "
                    "run.",
                ),
                io.Int.Input(
                    "world_clips",
                    default=1024,
                    min=16,
                    max=65_536,
                    tooltip="Number of rendered clips, if they are used.",
                ),
                io.Int.Input(
                    "steps",
                    default=500,
                    min=1,
                    max=1_000_000,
                    tooltip="Optimizer steps in all, those of earlier runs included.",
                ),
                io.Int.Input("batch", default=16, min=1, max=4096, tooltip="Clips in a step."),
                io.Float.Input(
                    "learning_rate",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=1e-5,
                    tooltip="Largest learning rate. 0 uses the one with which the shipped layers were trained.",
                ),
                io.Int.Input(
                    "preview_every",
                    default=20,
                    min=1,
                    max=100_000,
                    tooltip="Steps from one picture of the loss to the next.",
                ),
                io.Boolean.Input(
                    "from_scratch",
                    default=False,
                    tooltip="Start with new layers. Off: start with the layers that ship with the pack, if there are any.",
                ),
                inputs.seed("Seed of the order of the clips and of the noise."),
            ],
            outputs=[
                io.String.Output(display_name="file", tooltip="Name of the file in the list of 'Duet Load Add-On'."),
                io.Image.Output(display_name="picture", tooltip="The loss of this run."),
                io.String.Output(display_name="report", tooltip="Steps, time and score as text."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        kind: str,
        clips: str,
        world_clips: int,
        steps: int,
        batch: int,
        learning_rate: float,
        preview_every: int,
        from_scratch: bool,
        seed: int,
    ) -> io.NodeOutput:
        require_training(kind)
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.loss import draw_loss

        own = {"batch": batch, "lr": learning_rate or None, "seed": seed, "from_scratch": from_scratch}
        job = job_of(kind, clips, steps=steps, clips=world_clips, **own)
        record, losses = train_add_on(job, preview_every=preview_every)
        (path,) = job.folder.glob("*.safetensors")
        report = f"{kind}: {record['steps']} steps of {batch} in {record['seconds']} s, score {record['scores']['score']:.3f}"
        picture = pixels(draw_loss(losses, last=steps, title=kind))[None]
        return io.NodeOutput(str(path.relative_to(job.run.parents[1])), picture, report, ui=show(cls, report))
