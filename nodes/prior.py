"""The HiST-Sypo prior: tokens that describe where and when things happen."""

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
            description="Loads a prior estimator (HiST-Sypo), which predicts from a prompt where and when things happen. For "
            "the pocket model it also adds the prior layers to the MODEL; the output is bit-identical until a prior is "
            "connected. The prior of JavisDiT v0.1 uses the ImageBind text encoder, whose licence is non-commercial.",
            search_aliases=["hist-sypo", "javisdit prior"],
            inputs=[
                io.Model.Input("model", tooltip="The model to use the prior with: the pocket model or JavisDiT v0.1."),
                io.Combo.Input(
                    "prior",
                    options=[AUTO, *choices("diffusion_models")],
                    default=AUTO,
                    tooltip="JavisDiT's prior file from models/diffusion_models; 'auto' searches the safetensors files there. "
                    "Not used for the pocket model, whose prior ships with Duet.",
                ),
                io.Combo.Input(
                    "text_tower",
                    options=[AUTO, *choices("text_encoders")],
                    default=AUTO,
                    tooltip="Required only if the prior file does not contain its text encoder: imagebind_huge.pth from "
                    "models/text_encoders.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="The MODEL with layers that read priors, for 'Duet Guider'."
                ),
                PriorNetSocket.Output(display_name="prior_net", tooltip="The estimator, for 'Duet Prior Sampler'."),
            ],
        )

    @classmethod
    def execute(cls, model: io.Model.Type, prior: str, text_tower: str) -> io.NodeOutput:
        return io.NodeOutput(*load_prior_net(model, prior, text_tower))


class DuetPriorSampler(io.ComfyNode):
    """Samples a prior for a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetPriorSampler",
            display_name="Duet Prior Sampler",
            category=CATEGORY,
            description="Samples where and when things happen, independently of the noise. Keep the sampler's seed and change "
            "this one to get other layouts from the same noise, or the reverse.",
            search_aliases=["hist-sypo", "prior seed"],
            inputs=[
                PriorNetSocket.Input("prior_net", tooltip="From 'Duet Load Prior'."),
                io.String.Input("prompt", multiline=True, default="", tooltip="The same text as the positive prompt."),
                inputs.seed(
                    "Prior seed. A new seed gives another layout. The result is the same on every machine.", default=42
                ),
                inputs.temperature("How much samples vary: 0 always returns the mean, 1 is the trained distribution."),
            ],
            outputs=[
                PriorSocket.Output(display_name="prior", tooltip="For 'Duet Apply Conditions'."),
                io.Image.Output(
                    display_name="picture",
                    tooltip="Pocket model: where and when events are likely. JavisDiT: mean, spread and sampled values of the "
                    "tokens.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, prompt: str | None = None) -> bool | str:
        return (
            True
            if prompt is None or prompt.strip()
            else "The prompt is empty. Enter the same text as the positive prompt."
        )

    @classmethod
    def execute(cls, prior_net: PriorSource, prompt: str, seed: int, temperature: float) -> io.NodeOutput:
        prior = prior_net.draw(prompt, seed=seed, temperature=temperature)
        return io.NodeOutput(prior, prior_net.picture(prior, prompt)[None])
