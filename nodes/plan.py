"""Plans of what happens when and where: generating, editing, saving and loading them."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.core.conditions import Plan
from ..pipelines.core.files import atomic_output
from ..pipelines.core.saved_plan import read_plan
from ..pipelines.core.timeline import Timeline
from ..pipelines.models.planner.planner import VAPlanner
from ..pipelines.models.planner.qwen import QwenPlanner
from . import inputs
from .host.editor import editor_state
from .host.notice import show
from .host.output import new_output
from .host.plan import PLAN_SUFFIX, load_plan, plan_file, plan_files
from .types import CATEGORY
from .types import Plan as PlanSocket
from .types import Planner as PlannerSocket

AnyPlanner = VAPlanner | QwenPlanner
MODES = ("timeline", "paper")
EVENTS_AS_TEXT = "The events as text, one per line."


def timeline_fault(text: str | None) -> bool | str:
    """The answer of a node's ``validate_inputs``: True, or the message about the first line that is not an event."""
    try:
        Timeline.read(text or "")
    except ValueError as error:
        return str(error)
    return True


class DuetLoadPlanner(io.ComfyNode):
    """Loads the planner and adds the plan layers to the MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadPlanner",
            display_name="Duet Load Planner",
            category=CATEGORY,
            description="Loads the VA-Planner (Baton) and adds the plan layers to the MODEL, the pocket model or pocket LTX-2. The output "
            "is bit-identical until a plan is connected.",
            search_aliases=["baton", "va-planner"],
            inputs=[io.Model.Input("model", tooltip="The pocket model or pocket LTX-2 from 'Duet Load AV'.")],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The MODEL with plan layers, for 'Duet Guider'."),
                PlannerSocket.Output(
                    display_name="planner", tooltip="For 'Duet Planner', 'Duet Edit Plan' and 'Duet Load Plan'."
                ),
            ],
        )

    @classmethod
    def execute(cls, model: io.Model.Type) -> io.NodeOutput:
        return io.NodeOutput(*load_plan(model))


class DuetPlanner(io.ComfyNode):
    """Generates a plan for a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetPlanner",
            display_name="Duet Planner",
            category=CATEGORY,
            description="Generates a timeline of what happens when and where from the prompt, and converts it to plan tokens "
            "for video and audio.",
            search_aliases=["baton", "va-planner", "plan", "timeline"],
            inputs=[
                PlannerSocket.Input("planner", tooltip="From 'Duet Load Planner'."),
                io.String.Input(
                    "video", multiline=True, default="", tooltip="What is seen: the same text as the video prompt."
                ),
                io.String.Input(
                    "audio", multiline=True, default="", tooltip="What is heard. If empty, the video text is used."
                ),
                inputs.seed("Plan seed. A new seed gives different event times."),
                inputs.temperature(
                    "How much timelines vary: 0 always writes the most likely one, 1 is the trained distribution."
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=MODES[0],
                    tooltip="timeline: a language model writes the timeline first. paper: plan tokens are predicted directly "
                    "from the prompt, as in Baton; they are an average of what could happen.",
                ),
            ],
            outputs=[
                PlanSocket.Output(display_name="plan", tooltip="For 'Duet Edit Plan' or 'Duet Apply Conditions'."),
                io.String.Output(display_name="timeline", tooltip=EVENTS_AS_TEXT),
            ],
        )

    @classmethod
    def validate_inputs(cls, video: str | None = None) -> bool | str:
        return True if video is None or video.strip() else "The video prompt is empty. Enter the text of the prompt."

    @classmethod
    def execute(
        cls, planner: AnyPlanner, video: str, audio: str, seed: int, temperature: float, mode: str
    ) -> io.NodeOutput:
        if isinstance(planner, QwenPlanner):  # refused at once: writing the timeline would take a minute
            raise planner.without_towers()
        written = None if mode == "paper" else planner.write(video, audio, seed=seed, temperature=temperature)
        return io.NodeOutput(planner.plan(video, audio, written, seed=seed), "" if written is None else str(written))


class DuetEditPlan(io.ComfyNode):
    """Shows a plan and lets the user edit it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetEditPlan",
            display_name="Duet Edit Plan",
            category=CATEGORY,
            description="Shows a plan with one lane for each subject, in which events can be dragged, added, muted and removed. "
            "The text holds the same events. It is saved in the workflow and overrides the incoming plan; if it is empty, the "
            "plan passes through unchanged.",
            search_aliases=["timeline", "drag", "beats", "baton", "va-planner"],
            is_output_node=True,
            inputs=[
                PlannerSocket.Input("planner", tooltip="From 'Duet Load Planner'."),
                PlanSocket.Input(
                    "plan",
                    tooltip="The plan to edit. Its prompts are kept; its events are replaced by the timeline, if any.",
                ),
                inputs.timeline(
                    "One event per line: time in seconds, object, place (left, middle, right), and optionally 'silent' "
                    "or 'unseen', e.g. '0.35 bell left'. Empty: the plan is not changed."
                ),
                inputs.song(),
            ],
            outputs=[
                PlanSocket.Output(display_name="plan", tooltip="The edited plan, for 'Duet Apply Conditions'."),
                io.String.Output(display_name="timeline", tooltip=EVENTS_AS_TEXT),
                io.Image.Output(display_name="picture", tooltip="A plot of the events seen and heard over time."),
            ],
        )

    @classmethod
    def validate_inputs(cls, timeline: str | None = None) -> bool | str:
        return timeline_fault(timeline)

    @classmethod
    def execute(
        cls, planner: AnyPlanner, plan: Plan, timeline: str, audio: dict[str, Any] | None = None
    ) -> io.NodeOutput:
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.plan import draw_plan

        if timeline.strip():
            plan = planner.plan(plan.video, plan.audio, Timeline.read(timeline), seed=plan.seed)
        shown = plan.timeline or Timeline(())
        picture = pixels(draw_plan(shown, seconds=plan.seconds, title=plan.video))[None]
        words = planner.config.kinds if isinstance(planner, VAPlanner) else ()
        state = editor_state(shown, seconds=plan.seconds, words=words, audio=audio)
        return io.NodeOutput(plan, str(shown), picture, ui=state)


class DuetSavePlan(io.ComfyNode):
    """Saves a plan to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSavePlan",
            display_name="Duet Save Plan",
            category=CATEGORY,
            description="Saves the prompts, timeline and seed of a plan as JSON in the output folder. Plan tokens are "
            "recomputed when the file is loaded, so it stays small and can be edited as text.",
            search_aliases=["baton", "timeline", "json"],
            is_output_node=True,
            inputs=[
                PlanSocket.Input("plan", tooltip="From 'Duet Planner' or 'Duet Edit Plan'."),
                io.String.Input(
                    "filename_prefix",
                    default="duet/plan",
                    tooltip="Folder and name of the file in the output folder. A number is appended; nothing is overwritten.",
                ),
            ],
            outputs=[],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, plan: Plan, filename_prefix: str) -> io.NodeOutput:
        path = new_output(filename_prefix, PLAN_SUFFIX)
        with atomic_output(path) as temporary:
            temporary.write_text(plan.saved.to_json() + "\n", encoding="utf-8")
        return io.NodeOutput(ui=show(cls, path.name, str(plan.timeline or "")))


class DuetLoadPlan(io.ComfyNode):
    """Loads a saved plan."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadPlan",
            display_name="Duet Load Plan",
            category=CATEGORY,
            description="Loads a plan that was saved with 'Duet Save Plan', from the input or the output folder.",
            search_aliases=["baton", "timeline", "json"],
            inputs=[
                PlannerSocket.Input("planner", tooltip="From 'Duet Load Planner'."),
                io.Combo.Input(
                    "file",
                    options=plan_files(),
                    tooltip="A file that ends with .plan.json. Press R to refresh the list.",
                ),
            ],
            outputs=[
                PlanSocket.Output(display_name="plan", tooltip="For 'Duet Edit Plan' or 'Duet Apply Conditions'."),
                io.String.Output(display_name="timeline", tooltip=EVENTS_AS_TEXT),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_others: object) -> float:
        return plan_file(file).stat().st_mtime

    @classmethod
    def execute(cls, planner: AnyPlanner, file: str) -> io.NodeOutput:
        saved = read_plan(plan_file(file))
        plan = planner.plan(saved.video, saved.audio, saved.timeline, seed=saved.seed)
        return io.NodeOutput(plan, "" if saved.timeline is None else str(saved.timeline))
