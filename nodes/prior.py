"""The prior of where and when things happen."""

from __future__ import annotations

from comfy_api.latest import io

from . import inputs
from .host.families import AUTO, choices
from .host.prior import PriorSource, load_prior_net
from .types import CATEGORY
from .types import Prior as PriorSocket
from .types import PriorNet as PriorNetSocket


class DuetLoadPrior(io.ComfyNode):
    """Loads the prior estimator of a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadPrior",
            display_name="Duet Load Prior",
            category=CATEGORY,
            description="Loads the estimator of a prior (HiST-Sypo): from a prompt to where and when things happen. The "
            "pocket model's also puts the layers that read priors on the MODEL; without a prior that is what it "
            "was, to the bit. For JavisDiT v0.1 the text tower is ImageBind's, whose licence is non-commercial.",
            search_aliases=["hist-sypo", "javisdit prior"],
            inputs=[
                io.Model.Input("model", tooltip="The model the prior is for: the pocket model or JavisDiT v0.1."),
                io.Combo.Input(
                    "prior",
                    options=[AUTO, *choices("diffusion_models")],
                    default=AUTO,
                    tooltip="Of JavisDiT, from models/diffusion_models; 'auto' looks for one among the safetensors files. The pocket "
                    "model's ships with Duet.",
                ),
                io.Combo.Input(
                    "text_tower",
                    options=[AUTO, *choices("text_encoders")],
                    default=AUTO,
                    tooltip="Needed only where the prior's file does not hold its text tower: imagebind_huge.pth from "
                    "models/text_encoders.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                PriorNetSocket.Output(display_name="prior_net"),
            ],
        )

    @classmethod
    def execute(cls, model: io.Model.Type, prior: str, text_tower: str) -> io.NodeOutput:
        return io.NodeOutput(*load_prior_net(model, prior, text_tower))


class DuetPriorSampler(io.ComfyNode):
    """Draws a prior for a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetPriorSampler",
            display_name="Duet Prior Sampler",
            category=CATEGORY,
            description="Draws where and when things happen, apart from the noise: keep the sampler's seed and change this one for "
            "other layouts of the same clip, or the reverse.",
            search_aliases=["hist-sypo", "prior seed"],
            inputs=[
                PriorNetSocket.Input("prior_net"),
                io.String.Input(
                    "prompt", multiline=True, default="", tooltip="The same words as the positive prompt's."
                ),
                inputs.seed("Of the draw. The same on every machine.", default=42),
                inputs.temperature("How far draws spread: 0 is the mean, 1 what the model was trained with."),
            ],
            outputs=[
                PriorSocket.Output(display_name="prior"),
                io.Image.Output(
                    display_name="picture",
                    tooltip="Pocket model: what would happen where and when. JavisDiT: the tokens' mean, spread and this draw.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, prompt: str | None = None) -> bool | str:
        return (
            True if prompt is None or prompt.strip() else "The prompt is empty. Use the words of the positive prompt."
        )

    @classmethod
    def execute(cls, prior_net: PriorSource, prompt: str, seed: int, temperature: float) -> io.NodeOutput:
        prior = prior_net.draw(prompt, seed=seed, temperature=temperature)
        return io.NodeOutput(prior, prior_net.picture(prior, prompt)[None])
