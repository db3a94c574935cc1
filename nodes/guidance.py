"""The guider that runs a strategy, and the cross-modal terms for graphs with a stock sampler."""

from __future__ import annotations

from comfy_api.latest import io

from ..pipelines.guidance.strategy import Strategy
from .host.branches import backbone_of
from .host.guider import StrategyGuider, with_cross_modal
from .strategies import CROSS, scale
from .types import CATEGORY
from .types import Strategy as StrategySocket


class DuetGuider(io.ComfyNode):
    """Runs a strategy; for 'Duet Sampler' and for the host's SamplerCustomAdvanced."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetGuider",
            display_name="Duet Guider",
            category=CATEGORY,
            description="Binds a model, prompts and a guidance strategy. Works with 'Duet Sampler' and with the stock custom "
            "samplers, and with other models than Duet's: LTX-2 and MiniMax H3 too can be guided by the other stream.",
            search_aliases=["guider", "guidance"],
            inputs=[
                io.Model.Input("model"),
                io.Conditioning.Input("positive"),
                StrategySocket.Input("strategy"),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="Needed where a strategy compares with other words, as CFG does."
                ),
            ],
            outputs=[
                io.Guider.Output(display_name="guider"),
                io.String.Output(
                    display_name="cost", tooltip="Passes through the network a step, and the kind of null."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model: io.Model.Type, positive: list, strategy: Strategy, negative: list | None = None
    ) -> io.NodeOutput:
        branches = strategy.possible_branches()
        if negative is None and any(not branch.text for branch in branches):
            raise ValueError(
                "This strategy compares with a negative prompt, and none is connected. Connect one, or use scale 1."
            )
        guider = StrategyGuider(model, positive, negative or positive, strategy)
        cost = f"up to {len(branches)} passes per step" if len(branches) > 1 else "1 pass per step"
        if any(not (branch.a2v and branch.v2a) for branch in branches):
            masked = any(branch.masked for branch in branches)
            cost += f"; sync against: {'untrained null (masked)' if masked else backbone_of(model.model).null}"
        return io.NodeOutput(guider, cost)


class DuetCrossModalGuidance(io.ComfyNode):
    """Guidance by the other stream on a MODEL, for KSampler and any guider of the host."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        percent = {"min": 0.0, "max": 1.0, "step": 0.01}
        return io.Schema(
            node_id="DuetCrossModalGuidance",
            display_name="Duet Cross-Modal Guidance",
            category=f"{CATEGORY}/guidance",
            description="Makes sound and picture follow each other more, under any sampler: one more pass a step in which neither "
            "sees the other. Duet's pocket model has a trained null for it; LTX-2 and MiniMax H3 have an untrained null, and the "
            "effect was not measured by us. Works at CFG 1, so with distilled models too.",
            search_aliases=["modality guidance", "ltx", "h3", "sync", "lip sync"],
            inputs=[
                io.Model.Input("model"),
                scale("audio_to_video", 1.5, CROSS.format("the sound", "the picture", "1.5 to 3")),
                scale("video_to_audio", 1.5, CROSS.format("the picture", "the sound", "1.5 to 3")),
                io.Float.Input("start_percent", default=0.0, **percent, tooltip="Where in the schedule it sets in."),
                io.Float.Input("end_percent", default=1.0, **percent, tooltip="Where in the schedule it ends."),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                io.String.Output(display_name="cost", tooltip="Further passes a step, and the kind of null."),
            ],
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
        cost = (
            "no further pass"
            if patched is model
            else f"1 further pass per step; sync against: {backbone_of(model.model).null}"
        )
        return io.NodeOutput(patched, cost)
