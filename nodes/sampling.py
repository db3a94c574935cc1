"""The sampler."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..pipelines.models.pocket.generate import DEFAULT_STEPS
from . import inputs
from .host.guider import StrategyGuider
from .host.sample import default_sampler, sample_latent, schedule
from .types import CATEGORY


class DuetSampler(io.ComfyNode):
    """Samples both streams with the schedule the model was made for."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSampler",
            display_name="Duet Sampler",
            category=CATEGORY,
            description="Samples both streams together. The same seed gives the same clip as on the command line.",
            search_aliases=["sampler", "sample", "denoise"],
            inputs=[
                io.Guider.Input("guider"),
                io.Latent.Input("latent"),
                inputs.seed("Take k of a batch uses seed + k."),
                io.Int.Input(
                    "steps",
                    default=DEFAULT_STEPS,
                    min=1,
                    max=1000,
                    tooltip="Steps of the schedule; not used where sigmas are connected. JavisDiT's own: 30 (v0.1), 50 (v1.0).",
                ),
                io.Sampler.Input("sampler", optional=True, tooltip="Default: euler."),
                io.Sigmas.Input("sigmas", optional=True, tooltip="Default: the schedule the model was made for."),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(
        cls,
        guider: StrategyGuider,
        latent: dict,
        seed: int,
        steps: int,
        sampler: object | None = None,
        sigmas: Tensor | None = None,
    ) -> io.NodeOutput:
        if sigmas is None:
            sigmas = schedule(guider.model_patcher, latent, steps)
        return io.NodeOutput(
            sample_latent(guider, latent, seed=seed, sampler=sampler or default_sampler(), sigmas=sigmas)
        )


class DuetSchedule(io.ComfyNode):
    """The schedule of a model, for the host's own samplers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSchedule",
            display_name="Duet Schedule",
            category=CATEGORY,
            description="The noise levels a Duet model was made for, for SamplerCustomAdvanced. JavisDiT's lean more to noise the "
            "larger and longer the clip is, so they need its latent. 'Duet Sampler' uses the same by itself.",
            search_aliases=["scheduler", "sigmas", "shift"],
            inputs=[
                io.Model.Input("model"),
                io.Latent.Input("latent"),
                io.Int.Input("steps", default=DEFAULT_STEPS, min=1, max=1000, tooltip="Steps of the schedule."),
            ],
            outputs=[io.Sigmas.Output(display_name="sigmas")],
        )

    @classmethod
    def execute(cls, model: io.Model.Type, latent: dict, steps: int) -> io.NodeOutput:
        return io.NodeOutput(schedule(model, latent, steps))
