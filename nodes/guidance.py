"""Strategies and the guider that runs one."""

from __future__ import annotations

from comfy_api.latest import io

from ..pipelines.guidance import PerStreamCFG, Strategy, passes_per_step
from .host.guider import StrategyGuider
from .host.model import pocket_config
from .types import CATEGORY
from .types import Strategy as StrategySocket


class DuetStrategyCFG(io.ComfyNode):
    """Classifier-free guidance with a scale for each stream."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        tip = "How strongly the text is followed in this stream. 1 is off and costs nothing, 2 to 4 is usual, above 6 colours harden."
        return io.Schema(
            node_id="DuetStrategyCFG",
            display_name="Duet Strategy: CFG",
            category=CATEGORY,
            description="Classifier-free guidance with a scale for each stream. With both scales at 1 only one pass a step is run.",
            search_aliases=["cfg", "guidance scale", "classifier free"],
            inputs=[
                io.Float.Input("video", default=3.0, min=0.0, max=30.0, step=0.1, tooltip=tip),
                io.Float.Input("audio", default=3.0, min=0.0, max=30.0, step=0.1, tooltip=tip),
            ],
            outputs=[StrategySocket.Output(display_name="strategy")],
        )

    @classmethod
    def execute(cls, video: float, audio: float) -> io.NodeOutput:
        return io.NodeOutput(PerStreamCFG(video, audio))


class DuetGuider(io.ComfyNode):
    """Runs a strategy; for 'Duet Sampler' and for the host's SamplerCustomAdvanced."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetGuider",
            display_name="Duet Guider",
            category=CATEGORY,
            description="Binds a model, prompts and a guidance strategy. Works with 'Duet Sampler' and with the stock custom samplers.",
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
                io.String.Output(display_name="cost", tooltip="Passes through the network at the first step."),
            ],
        )

    @classmethod
    def execute(
        cls, model: io.Model.Type, positive: list, strategy: Strategy, negative: list | None = None
    ) -> io.NodeOutput:
        pocket_config(model)
        if negative is None and any(not branch.text for branch in strategy.terms(1.0)):
            raise ValueError(
                "This strategy compares with a negative prompt, and none is connected. Connect one, or use scale 1."
            )
        passes = passes_per_step(strategy)
        return io.NodeOutput(
            StrategyGuider(model, positive, negative or positive, strategy),
            f"{passes} pass{'es' if passes > 1 else ''} per step",
        )
