"""The guider that runs a guidance strategy, and cross-modal guidance for graphs with a stock sampler."""

from __future__ import annotations

from comfy_api.latest import io

from ..pipelines.guidance.strategy import PerStreamCFG, Strategy
from .host.branches import backbone_of
from .host.guider import StrategyGuider, cost_of, unused_plan, with_cross_modal
from .host.notice import show
from .inputs import CROSS, scale
from .types import CATEGORY
from .types import Strategy as StrategySocket


class DuetGuider(io.ComfyNode):
    """Runs a guidance strategy, for 'Duet Sampler' and the host's SamplerCustomAdvanced."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetGuider",
            display_name="Duet Guider",
            category=CATEGORY,
            description="Combines a model, prompts and a guidance strategy into a GUIDER. Works with 'Duet Sampler' and "
            "ComfyUI's custom samplers. Cross-modal guidance also works with LTX-2 and MiniMax H3.",
            search_aliases=["guider", "guidance"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="A Duet MODEL, LTX-2 or MiniMax H3. Other models support text guidance only."
                ),
                io.Conditioning.Input("positive", tooltip="The prompt of the clip, e.g. from 'Duet Encode Prompt'."),
                StrategySocket.Input(
                    "strategy",
                    optional=True,
                    tooltip="The guidance to apply, from a 'Duet Strategy' node. Not connected or bypassed: the positive prompt "
                    "without guidance, one pass per step.",
                ),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="The negative prompt. Required if the strategy uses one, as CFG and UCG do at scales other than 1.",
                ),
            ],
            outputs=[
                io.Guider.Output(
                    display_name="guider", tooltip="For 'Duet Sampler', 'Duet Seed Sweep' or SamplerCustomAdvanced."
                ),
                io.String.Output(
                    display_name="cost",
                    tooltip="Number of network passes per step, and what replaces the other stream in cross-modal guidance. Also "
                    "shown on the node.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        positive: list,
        strategy: Strategy | None = None,
        negative: list | None = None,
    ) -> io.NodeOutput:
        used = strategy or PerStreamCFG(1.0, 1.0)
        if negative is None and any(not branch.text for branch in used.possible_branches()):
            raise ValueError(
                "This strategy needs a negative prompt, and none is connected. Connect one, or set the text scales to 1."
            )
        guider = StrategyGuider(model, positive, negative or positive, used)
        cost = cost_of(guider, without_strategy=strategy is None)
        return io.NodeOutput(guider, cost, ui=show(cls, cost, unused_plan(guider)))


class DuetCrossModalGuidance(io.ComfyNode):
    """Patches a MODEL with cross-modal guidance, for KSampler and any stock guider."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        percent = {"min": 0.0, "max": 1.0, "step": 0.01}
        return io.Schema(
            node_id="DuetCrossModalGuidance",
            display_name="Duet Cross-Modal Guidance",
            category=f"{CATEGORY}/guidance",
            description="Strengthens the link between audio and video under any sampler, with one extra pass per step in which "
            "the two streams do not see each other. The pocket model was trained for that pass. LTX-2, MiniMax H3 and JavisDiT "
            "were not, and we have not measured the effect on them. Works at CFG 1, and therefore with distilled models.",
            search_aliases=["modality guidance", "ltx", "h3", "sync", "lip sync", "talking"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="A Duet MODEL, LTX-2 or MiniMax H3, sampled with an audio-video latent."
                ),
                scale("audio_to_video", 1.5, CROSS.format("video", "audio", "1.5 to 3")),
                scale("video_to_audio", 1.5, CROSS.format("audio", "video", "1.5 to 3")),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    **percent,
                    tooltip="Fraction of the schedule at which the guidance starts. 0 is the first step.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    **percent,
                    tooltip="Fraction of the schedule at which the guidance ends. 1 is the last step.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The patched MODEL, for KSampler or a stock guider (not for 'Duet Guider').",
                ),
                io.String.Output(
                    display_name="cost",
                    tooltip="Extra passes per step, and what replaces the other stream in that pass. Also shown on the node.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        audio_to_video: float,
        video_to_audio: float,
        start_percent: float,
        end_percent: float,
    ) -> io.NodeOutput:
        patched = with_cross_modal(model, audio_to_video, video_to_audio, start=start_percent, end=end_percent)
        if patched is model:
            cost = "no extra pass: both scales are 1, so this node has no effect"
        elif start_percent == end_percent:
            cost = "no extra pass: the guidance starts and ends at the same step, so this node has no effect"
        else:
            cost = f"1 extra pass per step; sync against: {backbone_of(model.model, model.model_options).null}"
        return io.NodeOutput(patched, cost, ui=show(cls, cost))
