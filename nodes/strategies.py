"""Guidance strategies and their modifiers. Each node returns a value object; no model is loaded or evaluated."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.guidance.advice import advice
from ..pipelines.guidance.modifiers import APG, CFGZero, PlanScale, Rescale, Schedule, Window
from ..pipelines.guidance.strategy import DEFAULT, FORMS, UCG, PerStreamCFG, Strategy
from .host.notice import show
from .inputs import TEXT, scale, scales
from .types import CATEGORY
from .types import Strategy as StrategySocket

LABELS = {form.label: name for name, form in FORMS.items()}


def source() -> Any:
    """The strategy that a modifier changes."""
    return StrategySocket.Input("strategy", tooltip="The strategy to modify, from another 'Duet Strategy' node.")


def schema(node_id: str, name: str, description: str, aliases: list[str], inputs: list[Any]) -> io.Schema:
    """The schema of a strategy node: its only output is a strategy."""
    return io.Schema(
        node_id=node_id,
        display_name=f"Duet Strategy: {name}",
        category=f"{CATEGORY}/guidance",
        description=description,
        search_aliases=aliases,
        inputs=inputs,
        outputs=[
            StrategySocket.Output(display_name="strategy", tooltip="For 'Duet Guider' or another 'Duet Strategy' node.")
        ],
        hidden=[io.Hidden.unique_id],
    )


def output(node: type[io.ComfyNode], strategy: Strategy) -> io.NodeOutput:
    """``strategy`` as the output of ``node``, which shows advice on its settings."""
    return io.NodeOutput(strategy, ui=show(node, *advice(strategy)))


class DuetStrategyCFG(io.ComfyNode):
    """Classifier-free guidance with a scale for each stream."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyCFG",
            "CFG",
            "Classifier-free guidance with a scale for each stream. With both scales at 1, only one network pass per step is run.",
            ["cfg", "guidance scale", "classifier free"],
            [
                scale("video", DEFAULT.video, TEXT.format("video")),
                scale("audio", DEFAULT.audio, TEXT.format("audio")),
            ],
        )

    @classmethod
    def execute(cls, video: float, audio: float) -> io.NodeOutput:
        return output(cls, PerStreamCFG(video, audio))


class DuetStrategyUCG(io.ComfyNode):
    """Guidance by text and by the other stream, relative to learnt context tokens."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyUCG",
            "UCG",
            "Unconditional context guidance: strengthens how each stream follows the prompt and the other stream, relative to a null that "
            "the model was trained on: the pocket model, or LTX-2 with context tokens. Up to three passes per step; a scale of 1 is off.",
            ["ucg", "sync", "cross modal", "context guidance"],
            [
                io.Combo.Input(
                    "form",
                    options=list(LABELS),
                    default=FORMS[DEFAULT.form].label,
                    tooltip="How text guidance and sync guidance are combined. 'text only' and 'as one' use only the text scales, "
                    "'sync only' uses only the cross-modal scales.",
                ),
                *scales(DEFAULT.video, DEFAULT.a2v, "2 to 5"),
            ],
        )

    @classmethod
    def execute(
        cls, form: str, video: float, audio: float, audio_to_video: float, video_to_audio: float
    ) -> io.NodeOutput:
        return output(cls, UCG(LABELS[form], video, audio, audio_to_video, video_to_audio))


class DuetStrategyCrossModal(io.ComfyNode):
    """Guidance by text and by the other stream for models without context tokens: LTX-2, MiniMax H3."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyCrossModal",
            "Cross-Modal",
            "Strengthens how each stream follows the prompt and the other stream on models without context tokens (LTX-2, MiniMax "
            "H3, JavisDiT). Cross-modal attention is switched off for comparison; the models were not trained for this. On pocket LTX-2, "
            "the only one we measured, no scale improved synchrony beyond doubt, and 2 or more into the audio harmed it. One pass per "
            "step, plus one if a text scale is not 1, plus one if a cross-modal scale is not 1. For distilled models leave the text "
            "scales at 1.",
            ["modality guidance", "ltx", "h3", "sync", "cross modal", "lip sync", "talking"],
            scales(3.0, 1.0, "1.5 to 3"),
        )

    @classmethod
    def execute(cls, video: float, audio: float, audio_to_video: float, video_to_audio: float) -> io.NodeOutput:
        return output(cls, UCG("U3", video, audio, audio_to_video, video_to_audio, masked=True))


class DuetStrategyWindow(io.ComfyNode):
    """Restricts a strategy to a range of noise levels."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        level = {"min": 0.0, "max": 1.0, "step": 0.01}
        return schema(
            "DuetStrategyWindow",
            "Window",
            "Applies a strategy only between two noise levels. Outside that range there is no guidance and one pass per step.",
            ["interval", "start", "end", "guidance window"],
            [
                source(),
                io.Float.Input(
                    "start", default=1.0, **level, tooltip="Noise level at which guidance starts; 1 is the first step."
                ),
                io.Float.Input(
                    "end", default=0.0, **level, tooltip="Noise level at which guidance ends; 0 is the last step."
                ),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, start: float, end: float) -> io.NodeOutput:
        return output(cls, Window(strategy, start, end))


class DuetStrategySchedule(io.ComfyNode):
    """Fades a strategy over the noise schedule."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        share = {"min": 0.0, "max": 1.0, "step": 0.05}
        return schema(
            "DuetStrategySchedule",
            "Schedule",
            "Fades a strategy in or out linearly with the noise level. Steps with strength 0 need only one pass.",
            ["fade", "ramp", "decay", "dynamic cfg"],
            [
                source(),
                io.Float.Input(
                    "start", default=1.0, **share, tooltip="Strength at the first step: 1 is full guidance, 0 is none."
                ),
                io.Float.Input(
                    "end", default=0.0, **share, tooltip="Strength at the last step: 1 is full guidance, 0 is none."
                ),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, start: float, end: float) -> io.NodeOutput:
        return output(cls, Schedule(strategy, start, end))


class DuetStrategyPlan(io.ComfyNode):
    """Sets how strictly each stream follows the plan."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        tip = (
            "How strictly the {} follows the plan: 1 is as trained at no cost, 1.5 to 2 is stricter, below 1 is looser."
        )
        return schema(
            "DuetStrategyPlan",
            "Plan",
            "Strengthens or weakens the effect of the plan, with a scale for each stream. Requires the MODEL of 'Duet Load "
            "Planner'.",
            ["baton", "plan strength"],
            [
                source(),
                scale("video", 1.5, tip.format("video")),
                scale("audio", 1.5, tip.format("audio")),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, video: float, audio: float) -> io.NodeOutput:
        return output(cls, PlanScale(strategy, video, audio))


class DuetStrategyRescale(io.ComfyNode):
    """Reduces the excess contrast and loudness of high scales."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        share = {"default": 0.7, "min": 0.0, "max": 1.0, "step": 0.05}
        tip = "How far the {} is rescaled to its standard deviation without guidance: 0 is off, 0.7 is usual, 1 may {}."
        return schema(
            "DuetStrategyRescale",
            "Rescale",
            "Restores the natural contrast and loudness that high guidance scales exaggerate, separately for each stream.",
            ["rescale cfg", "oversaturation", "contrast"],
            [
                source(),
                io.Float.Input("video", **share, tooltip=tip.format("video", "look flat")),
                io.Float.Input("audio", **share, tooltip=tip.format("audio", "sound dull")),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, video: float, audio: float) -> io.NodeOutput:
        return output(cls, Rescale(strategy, video, audio))


class DuetStrategyAPG(io.ComfyNode):
    """Adaptive projected guidance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyAPG",
            "APG",
            "Adaptive projected guidance: removes the component of each guidance step that causes oversaturation. Connect it "
            "directly after a CFG, UCG or Cross-Modal strategy.",
            ["adaptive projected guidance", "oversaturation"],
            [
                source(),
                io.Float.Input(
                    "parallel",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Fraction of the oversaturating component to keep: 0 removes all of it, 1 switches APG off.",
                ),
                io.Float.Input(
                    "limit",
                    default=0.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Maximum root mean square of a guidance step. 0 is no limit; very small values cancel the guidance.",
                ),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, parallel: float, limit: float) -> io.NodeOutput:
        return output(cls, APG(strategy, parallel, limit))


class DuetStrategyCFGZero(io.ComfyNode):
    """CFG-Zero*: scales the null prediction and can skip the first steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyCFGZero",
            "CFG-Zero*",
            "CFG-Zero*: scales the unconditional prediction to match the conditional one before they are compared, and can skip "
            "the first steps. Connect it directly after a CFG, UCG or Cross-Modal strategy.",
            ["cfg zero star", "zero init"],
            [
                source(),
                io.Float.Input(
                    "still",
                    default=1.0,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Steps above this noise level are skipped. 1 skips none, 0.96 skips the first one or two, low "
                    "values leave noise.",
                ),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, still: float) -> io.NodeOutput:
        return output(cls, CFGZero(strategy, still))
