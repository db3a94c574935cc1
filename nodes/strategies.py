"""Strategies of guidance and what can be done to one. Each node makes a value; nothing is loaded or evaluated."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.guidance.modifiers import APG, CFGZero, PlanScale, Rescale, Schedule, Window
from ..pipelines.guidance.strategy import DEFAULT, FORMS, UCG, PerStreamCFG, Strategy
from .types import CATEGORY
from .types import Strategy as StrategySocket

TEXT = "How strongly the text is followed in this stream. 1 is off, 2 to 4 is usual, above 6 colours harden and movements stiffen."
CROSS = "How strongly {} is followed by {}. 1 is off, {} is usual; far above it two things in one picture get mixed up."
LABELS = {form.label: name for name, form in FORMS.items()}


def scale(name: str, default: float, tip: str) -> Any:
    """A guidance scale."""
    return io.Float.Input(name, default=default, min=0.0, max=30.0, step=0.1, tooltip=tip)


def scales(text: float, cross: float, usual: str) -> list[Any]:
    """The four scales of a cross-modal strategy; ``usual`` says in words where the cross-modal ones lie."""
    return [
        scale("video", text, TEXT),
        scale("audio", text, TEXT),
        scale("audio_to_video", cross, CROSS.format("the sound", "the picture", usual)),
        scale("video_to_audio", cross, CROSS.format("the picture", "the sound", usual)),
    ]


def schema(node_id: str, name: str, description: str, aliases: list[str], inputs: list[Any]) -> io.Schema:
    """What the nodes here share: they answer with a strategy."""
    return io.Schema(
        node_id=node_id,
        display_name=f"Duet Strategy: {name}",
        category=f"{CATEGORY}/guidance",
        description=description,
        search_aliases=aliases,
        inputs=inputs,
        outputs=[StrategySocket.Output(display_name="strategy")],
    )


class DuetStrategyCFG(io.ComfyNode):
    """Classifier-free guidance with a scale for each stream."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyCFG",
            "CFG",
            "Classifier-free guidance with a scale for each stream. With both scales at 1 only one pass a step is run.",
            ["cfg", "guidance scale", "classifier free"],
            [scale("video", DEFAULT.video, TEXT), scale("audio", DEFAULT.audio, TEXT)],
        )

    @classmethod
    def execute(cls, video: float, audio: float) -> io.NodeOutput:
        return io.NodeOutput(PerStreamCFG(video, audio))


class DuetStrategyUCG(io.ComfyNode):
    """Guidance by text and by the other stream, against the learnt 'no other modality'."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyUCG",
            "UCG",
            "Unconditional context guidance: follows the text and the other stream, each against a null the pocket model was "
            "trained on. Up to three passes a step; a scale of 1 is off.",
            ["ucg", "sync", "cross modal", "context guidance"],
            [
                io.Combo.Input(
                    "form",
                    options=list(LABELS),
                    default=FORMS[DEFAULT.form].label,
                    tooltip="How text and sync meet. 'text only' and 'as one' read the text scales, 'sync only' the other two.",
                ),
                *scales(DEFAULT.video, DEFAULT.a2v, "2 to 5"),
            ],
        )

    @classmethod
    def execute(
        cls, form: str, video: float, audio: float, audio_to_video: float, video_to_audio: float
    ) -> io.NodeOutput:
        return io.NodeOutput(UCG(LABELS[form], video, audio, audio_to_video, video_to_audio))


class DuetStrategyCrossModal(io.ComfyNode):
    """Guidance by text and by the other stream where no null was trained: LTX-2, MiniMax H3."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyCrossModal",
            "Cross-Modal",
            "Follows the text and the other stream, side by side, on models without context tokens (LTX-2, MiniMax H3): the "
            "null of a direction is 'nothing comes from there', for which no model was trained; effect not measured by us. "
            "One pass, one more where a text scale is not 1, one more where a direction's is not 1. For a distilled model "
            "leave the text scales at 1.",
            ["modality guidance", "ltx", "h3", "sync", "cross modal"],
            scales(3.0, 1.0, "1.5 to 3"),
        )

    @classmethod
    def execute(cls, video: float, audio: float, audio_to_video: float, video_to_audio: float) -> io.NodeOutput:
        return io.NodeOutput(UCG("U3", video, audio, audio_to_video, video_to_audio, masked=True))


class DuetStrategyWindow(io.ComfyNode):
    """A strategy in part of the schedule."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        level = {"min": 0.0, "max": 1.0, "step": 0.01}
        return schema(
            "DuetStrategyWindow",
            "Window",
            "Uses a strategy between two noise levels; outside there is no guidance and one pass a step.",
            ["interval", "start", "end", "guidance window"],
            [
                StrategySocket.Input("strategy"),
                io.Float.Input(
                    "start", default=1.0, **level, tooltip="Noise level at which it sets in; 1 is the first step."
                ),
                io.Float.Input(
                    "end", default=0.0, **level, tooltip="Noise level at which it ends; 0 is the last step."
                ),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, start: float, end: float) -> io.NodeOutput:
        return io.NodeOutput(Window(strategy, start, end))


class DuetStrategySchedule(io.ComfyNode):
    """A strategy that fades."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        share = {"min": 0.0, "max": 1.0, "step": 0.05}
        return schema(
            "DuetStrategySchedule",
            "Schedule",
            "Lets a strategy fade in or out in a straight line over the noise level. Where its strength is 0 one pass is run.",
            ["fade", "ramp", "decay", "dynamic cfg"],
            [
                StrategySocket.Input("strategy"),
                io.Float.Input(
                    "start", default=1.0, **share, tooltip="Strength at the first step: 1 is all of it, 0 none."
                ),
                io.Float.Input("end", default=0.0, **share, tooltip="Strength at the last step."),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, start: float, end: float) -> io.NodeOutput:
        return io.NodeOutput(Schedule(strategy, start, end))


class DuetStrategyPlan(io.ComfyNode):
    """More or less of the plan."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        tip = "How strictly {} keeps to the plan: 1 is as trained and costs nothing, 1.5 to 2 is stricter, below 1 looser."
        return schema(
            "DuetStrategyPlan",
            "Plan",
            "Guides away from what the model would make without its plan, by a scale for each stream. Needs a model with a planner.",
            ["baton", "plan strength"],
            [
                StrategySocket.Input("strategy"),
                scale("video", 1.5, tip.format("the picture")),
                scale("audio", 1.5, tip.format("the sound")),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, video: float, audio: float) -> io.NodeOutput:
        return io.NodeOutput(PlanScale(strategy, video, audio))


class DuetStrategyRescale(io.ComfyNode):
    """Less contrast from high scales."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        tip = "Share of the unguided spread that is given back: 0 is off, 0.7 is usual, 1 may look flat."
        share = {"default": 0.7, "min": 0.0, "max": 1.0, "step": 0.05, "tooltip": tip}
        return schema(
            "DuetStrategyRescale",
            "Rescale",
            "Gives back the contrast and the loudness that high scales exaggerate, a share for each stream.",
            ["rescale cfg", "oversaturation", "contrast"],
            [StrategySocket.Input("strategy"), io.Float.Input("video", **share), io.Float.Input("audio", **share)],
        )

    @classmethod
    def execute(cls, strategy: Strategy, video: float, audio: float) -> io.NodeOutput:
        return io.NodeOutput(Rescale(strategy, video, audio))


class DuetStrategyAPG(io.ComfyNode):
    """Adaptive projected guidance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyAPG",
            "APG",
            "Adaptive projected guidance: takes the part that saturates out of every guidance step. Put it right after the "
            "strategy.",
            ["adaptive projected guidance", "oversaturation"],
            [
                StrategySocket.Input("strategy"),
                io.Float.Input(
                    "parallel",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the saturating part that is kept: 0 is APG, 1 is off.",
                ),
                io.Float.Input(
                    "limit",
                    default=0.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Largest size of a guidance step (root mean square); 0 is no limit, very small values undo the guidance.",
                ),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, parallel: float, limit: float) -> io.NodeOutput:
        return io.NodeOutput(APG(strategy, parallel, limit))


class DuetStrategyCFGZero(io.ComfyNode):
    """CFG-zero*."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DuetStrategyCFGZero",
            "CFG-Zero*",
            "Scales the null prediction to the one with text before they are compared, and can hold the first steps still. Put "
            "it right after the strategy.",
            ["cfg zero star", "zero init"],
            [
                StrategySocket.Input("strategy"),
                io.Float.Input(
                    "still",
                    default=1.0,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Above this noise level nothing moves and nothing is computed; 1 is off, 0.96 holds the first step or two.",
                ),
            ],
        )

    @classmethod
    def execute(cls, strategy: Strategy, still: float) -> io.NodeOutput:
        return io.NodeOutput(CFGZero(strategy, still))
