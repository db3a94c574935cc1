"""The sampler and its noise schedule."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from . import inputs
from .host.guider import StrategyGuider
from .host.notice import show
from .host.sample import announcement, default_sampler, sample_latent, schedule
from .types import CATEGORY


class DuetSampler(io.ComfyNode):
    """Samples both streams with the noise schedule the model was trained with."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSampler",
            display_name="Duet Sampler",
            category=CATEGORY,
            description="Samples both streams together. The same seed gives the same clip as on the command line. The node shows the "
            "number of network passes, and a warning for sizes and durations far from the training clips.",
            search_aliases=["sampler", "sample", "denoise"],
            inputs=[
                io.Guider.Input("guider", tooltip="The model, prompts and guidance, from 'Duet Guider'."),
                io.Latent.Input(
                    "latent", tooltip="From 'Duet Empty Latent', or from 'Duet Freeze Stream' to keep a part."
                ),
                inputs.seed("Noise seed. Clip k of a batch uses seed + k."),
                inputs.steps(
                    "Number of sampling steps. Ignored if sigmas are connected. Usual values: 8 (pocket models), 30 "
                    "(JavisDiT v0.1), 50 (JavisDiT v1.0).",
                ),
                *inputs.sampling(),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent", tooltip="The sampled latent with both streams, for 'Duet Decode'."
                )
            ],
            hidden=[io.Hidden.unique_id],
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
        sampler = sampler or default_sampler(guider)
        shown = show(cls, announcement(guider, latent, sampler, sigmas))
        sampled = sample_latent(guider, latent, seed=seed, sampler=sampler, sigmas=sigmas)
        return io.NodeOutput(sampled, ui=shown)


class DuetSchedule(io.ComfyNode):
    """Returns the default noise schedule of a model, for the host's samplers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSchedule",
            display_name="Duet Schedule",
            category=CATEGORY,
            description="Returns the noise levels a Duet model was trained with, for SamplerCustomAdvanced. JavisDiT spends "
            "more steps at high noise for larger and longer clips, which is why the latent is needed. 'Duet Sampler' uses this "
            "schedule by default.",
            search_aliases=["scheduler", "sigmas", "shift"],
            inputs=[
                io.Model.Input("model", tooltip="A Duet MODEL."),
                io.Latent.Input(
                    "latent", tooltip="The latent to be sampled. Its size and duration set JavisDiT's schedule."
                ),
                inputs.steps("Number of sampling steps.", default=25),
            ],
            outputs=[
                io.Sigmas.Output(display_name="sigmas", tooltip="Noise levels from 1 to 0, for SamplerCustomAdvanced.")
            ],
        )

    @classmethod
    def execute(cls, model: io.Model.Type, latent: dict, steps: int) -> io.NodeOutput:
        return io.NodeOutput(schedule(model, latent, steps))
