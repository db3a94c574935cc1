"""The plan: what happens when and where, to be seen, dragged and reused."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..pipelines.core.conditions import Plan
from ..pipelines.core.files import atomic_output
from ..pipelines.core.saved_plan import read_plan
from ..pipelines.core.timeline import STYLES, Timeline, as_prompt
from ..pipelines.models.planner.planner import VAPlanner
from ..pipelines.models.planner.qwen import QwenPlanner
from . import inputs
from .host.output import new_output
from .host.plan import PLAN_SUFFIX, language_folder, language_folders, load_plan, load_writer, plan_file, plan_files
from .types import CATEGORY
from .types import Plan as PlanSocket
from .types import Planner as PlannerSocket

AnyPlanner = VAPlanner | QwenPlanner
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
                inputs.seed("Of the plan: another seed, another course of events."),
                inputs.temperature("How freely it is drawn: 0 always takes what is likeliest."),
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
        cls, planner: AnyPlanner, video: str, audio: str, seed: int, temperature: float, mode: str
    ) -> io.NodeOutput:
        if isinstance(planner, QwenPlanner):  # before it writes for a minute
            raise planner.without_towers()
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
    def execute(cls, planner: AnyPlanner, plan: Plan, timeline: str) -> io.NodeOutput:
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.plan import draw_plan

        if timeline.strip():
            plan = planner.plan(plan.video, plan.audio, Timeline.read(timeline), seed=plan.seed)
        shown = plan.timeline or Timeline(())
        picture = pixels(draw_plan(shown, seconds=plan.seconds, title=plan.video))[None]
        return io.NodeOutput(plan, str(shown), picture, ui=ui.PreviewText(str(shown)))


class DuetSavePlan(io.ComfyNode):
    """Keeps a plan as a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSavePlan",
            display_name="Duet Save Plan",
            category=CATEGORY,
            description="Writes a plan's prompts, timeline and seed as JSON into the output folder. Its tokens are made again from "
            "them, so that the file is small and can be read and edited anywhere.",
            search_aliases=["baton", "timeline", "json"],
            is_output_node=True,
            inputs=[
                PlanSocket.Input("plan"),
                io.String.Input(
                    "filename_prefix", default="duet/plan", tooltip="A number is added; nothing is overwritten."
                ),
            ],
            outputs=[],
        )

    @classmethod
    def execute(cls, plan: Plan, filename_prefix: str) -> io.NodeOutput:
        path = new_output(filename_prefix, PLAN_SUFFIX)
        with atomic_output(path) as temporary:
            temporary.write_text(plan.saved.to_json() + "\n", encoding="utf-8")
        return io.NodeOutput(ui=ui.PreviewText(f"{path.name}\n{plan.timeline or ''}"))


class DuetLoadPlan(io.ComfyNode):
    """Takes up a plan that was kept."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadPlan",
            display_name="Duet Load Plan",
            category=CATEGORY,
            description="Reads a plan that 'Duet Save Plan' wrote, from the input or the output folder.",
            search_aliases=["baton", "timeline", "json"],
            inputs=[
                PlannerSocket.Input("planner"),
                io.Combo.Input("file", options=plan_files(), tooltip="Files whose names end with .plan.json."),
            ],
            outputs=[PlanSocket.Output(display_name="plan"), io.String.Output(display_name="timeline")],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_others: object) -> float:
        return plan_file(file).stat().st_mtime

    @classmethod
    def execute(cls, planner: AnyPlanner, file: str) -> io.NodeOutput:
        told = read_plan(plan_file(file))
        plan = planner.plan(told.video, told.audio, told.timeline, seed=told.seed)
        return io.NodeOutput(plan, "" if told.timeline is None else str(told.timeline))


class DuetLoadTimelineWriter(io.ComfyNode):
    """Loads a full-size language model that writes timelines."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadTimelineWriter",
            display_name="Duet Load Timeline Writer",
            category=CATEGORY,
            description="Loads a Qwen3 of your own, the kind that Baton's planner starts from. It writes timelines for any things and "
            "lengths. It plans no tokens: nobody has released towers for it.",
            search_aliases=["qwen", "baton", "llm"],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=language_folders(),
                    tooltip="Folders in models/text_encoders or models/LLM with a Qwen3's config.json, tokenizer and safetensors.",
                )
            ],
            outputs=[PlannerSocket.Output(display_name="planner")],
        )

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        return io.NodeOutput(load_writer(language_folder(folder)))


class DuetTimelinePrompt(io.ComfyNode):
    """Tells a timeline in words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetTimelinePrompt",
            display_name="Duet Timeline Prompt",
            category=CATEGORY,
            description="Puts a timeline into the words of a prompt, for models that read no plan (LTX-2, MiniMax H3). These are words "
            "and no more: such a model need not keep the times.",
            search_aliases=["ltx", "h3", "prompt", "timeline"],
            inputs=[
                io.String.Input("prompt", multiline=True, default="", tooltip="What is seen and heard."),
                io.Combo.Input(
                    "style",
                    options=list(STYLES),
                    default=STYLES[0],
                    tooltip="prose: one flowing paragraph, as LTX-2 asks for. beats: a timed line for each event.",
                ),
                io.String.Input(
                    "timeline", multiline=True, default="", tooltip="Written by you. Empty: the planner writes it."
                ),
                io.Float.Input("seconds", default=5.0, min=1.0, max=60.0, step=0.1, tooltip="Length of the clip."),
                inputs.seed("Of the timeline that the planner draws."),
                PlannerSocket.Input(
                    "planner",
                    optional=True,
                    tooltip="Of 'Duet Load Timeline Writer', or the pocket planner for its own words and 2 s.",
                ),
            ],
            outputs=[io.String.Output(display_name="prompt"), io.String.Output(display_name="timeline")],
        )

    @classmethod
    def execute(
        cls,
        prompt: str,
        style: str,
        timeline: str,
        seconds: float,
        seed: int,
        planner: AnyPlanner | None = None,
    ) -> io.NodeOutput:
        if not timeline.strip() and planner is None:
            raise ValueError("There is no timeline and no planner to write one. Write events, or connect a planner.")
        if timeline.strip():
            written = Timeline.read(timeline)
        else:
            assert planner is not None
            written = planner.write(prompt, "", seed=seed, seconds=seconds)
        late = [event for event in written.events if event.when >= seconds]
        if late:
            raise ValueError(f"The {late[0].what} is at {late[0].when:g} s; the clip ends at {seconds:g} s.")
        return io.NodeOutput(as_prompt(prompt, written, style), str(written))
