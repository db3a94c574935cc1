"""The sampler."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..pipelines.generate import DEFAULT_STEPS
from ..pipelines.sampling import flow_sigmas
from .host.guider import StrategyGuider
from .host.model import is_pocket
from .host.sample import default_sampler, sample_latent
from .types import CATEGORY


class DuetSampler(io.ComfyNode):
    """Samples both streams with the schedule the pocket model was trained for."""

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
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Take k of a batch uses seed + k.",
                ),
                io.Int.Input(
                    "steps",
                    default=DEFAULT_STEPS,
                    min=1,
                    max=1000,
                    tooltip="Steps of the schedule; not used where sigmas are connected.",
                ),
                io.Sampler.Input("sampler", optional=True, tooltip="Default: euler."),
                io.Sigmas.Input("sigmas", optional=True, tooltip="Default: the rectified-flow schedule with shift 3."),
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
            if not is_pocket(guider.model_patcher):
                raise ValueError(
                    "This model has a schedule of its own. Connect sigmas, e.g. of 'BasicScheduler' or of the model's own scheduler."
                )
            sigmas = flow_sigmas(steps)
        return io.NodeOutput(
            sample_latent(guider, latent, seed=seed, sampler=sampler or default_sampler(), sigmas=sigmas)
        )
