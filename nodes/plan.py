"""The plan: what happens when and where, to be seen, dragged and reused."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..pipelines.models.planner.planner import VAPlanner
from ..pipelines.plan import Plan, Timeline
from .host.plan import load_plan
from .types import CATEGORY
from .types import Plan as PlanSocket
from .types import Planner as PlannerSocket

MODES = ("timeline", "paper")


class DuetLoadPlanner(io.ComfyNode):
    """Loads the planner, and the layers through which the network reads its plans."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadPlanner",
            display_name="Duet Load Planner",
            category=CATEGORY,
            description="Loads the VA-Planner (Baton) of the pocket model, and puts the layers that read plans on the MODEL. "
            "Without a plan the MODEL is what it was, to the bit.",
            search_aliases=["baton", "va-planner"],
            inputs=[io.Model.Input("model", tooltip="The pocket model of 'Duet Load AV'.")],
            outputs=[io.Model.Output(display_name="model"), PlannerSocket.Output(display_name="planner")],
        )

    @classmethod
    def execute(cls, model: io.Model.Type) -> io.NodeOutput:
        return io.NodeOutput(*load_plan(model))


class DuetPlanner(io.ComfyNode):
    """Plans a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetPlanner",
            display_name="Duet Planner",
            category=CATEGORY,
            description="Writes what happens when and where, and turns it into planned tokens for picture and sound.",
            search_aliases=["baton", "plan", "timeline"],
            inputs=[
                PlannerSocket.Input("planner"),
                io.String.Input("video", multiline=True, default="", tooltip="What is seen: the words of the prompt."),
                io.String.Input(
                    "audio", multiline=True, default="", tooltip="What is heard. Empty: the same words as the video."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Of the plan: another seed, another course of events.",
                ),
                io.Float.Input(
                    "temperature",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How freely it is drawn: 0 always takes what is likeliest.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=MODES[0],
                    tooltip="timeline: first write what happens when. paper: planned tokens from the prompt alone, as Baton does; "
                    "it predicts the mean of what could happen.",
                ),
            ],
            outputs=[PlanSocket.Output(display_name="plan"), io.String.Output(display_name="timeline")],
        )

    @classmethod
    def validate_inputs(cls, video: str | None = None) -> bool | str:
        return True if video is None or video.strip() else "The video prompt is empty. Use the words of the prompt."

    @classmethod
    def execute(
        cls, planner: VAPlanner, video: str, audio: str, seed: int, temperature: float, mode: str
    ) -> io.NodeOutput:
        written = None if mode == "paper" else planner.write(video, audio, seed=seed, temperature=temperature)
        return io.NodeOutput(planner.plan(video, audio, written, seed=seed), "" if written is None else str(written))


class DuetEditPlan(io.ComfyNode):
    """Shows a plan and lets it be changed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetEditPlan",
            display_name="Duet Edit Plan",
            category=CATEGORY,
            description="Shows a plan as two lanes, seen and heard, in which events can be dragged, added, muted and removed. The text "
            "below says the same; it travels in the workflow and wins over planning again. Empty, the plan passes through.",
            search_aliases=["timeline", "drag", "baton"],
            is_output_node=True,
            inputs=[
                PlannerSocket.Input("planner"),
                PlanSocket.Input(
                    "plan", tooltip="Its prompts stay; its events are replaced by the timeline, if there is one."
                ),
                io.String.Input(
                    "timeline",
                    multiline=True,
                    default="",
                    tooltip="One event a line: seconds, what, where (left, middle, right), and perhaps 'silent' or 'unseen', e.g. "
                    "'0.35 bell left'. Empty: the plan as it comes.",
                ),
            ],
            outputs=[
                PlanSocket.Output(display_name="plan"),
                io.String.Output(display_name="timeline"),
                io.Image.Output(display_name="picture"),
            ],
        )

    @classmethod
    def validate_inputs(cls, timeline: str | None = None) -> bool | str:
        try:
            Timeline.read(timeline or "")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, planner: VAPlanner, plan: Plan, timeline: str) -> io.NodeOutput:
        from ..pipelines.pictures import draw_plan, pixels  # matplotlib, which a start of ComfyUI should not wait for

        if timeline.strip():
            plan = planner.plan(plan.video, plan.audio, Timeline.read(timeline), seed=plan.seed)
        shown = plan.timeline or Timeline(())
        picture = pixels(draw_plan(shown, seconds=planner.config.seconds, title=plan.video))[None]
        return io.NodeOutput(plan, str(shown), picture, ui=ui.PreviewText(str(shown)))
