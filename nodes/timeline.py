"""Timelines as text: a language model that writes them, and prompts that contain them."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.core.timeline import STYLES, Timeline, as_prompt
from . import inputs
from .host.editor import editor_state
from .host.plan import language_folder, language_folders, load_writer
from .plan import EVENTS_AS_TEXT, AnyPlanner, timeline_fault
from .types import CATEGORY
from .types import Planner as PlannerSocket


class DuetLoadTimelineWriter(io.ComfyNode):
    """Loads a full-size language model for writing timelines."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadTimelineWriter",
            display_name="Duet Load Timeline Writer",
            category=CATEGORY,
            description="Loads a Qwen3 language model from your models folder; Baton's planner is based on Qwen3. It writes "
            "timelines for any objects and durations. It cannot produce plan tokens, because no trained weights for that have "
            "been released.",
            search_aliases=["qwen", "baton", "llm"],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=language_folders(),
                    tooltip="A folder in models/text_encoders or models/LLM that contains the config.json, tokenizer and "
                    "safetensors of a Qwen3 model. Press R to refresh the list.",
                )
            ],
            outputs=[PlannerSocket.Output(display_name="planner", tooltip="For 'Duet Timeline Prompt'.")],
        )

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        return io.NodeOutput(load_writer(language_folder(folder)))


class DuetTimelinePrompt(io.ComfyNode):
    """Converts a timeline to a text prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetTimelinePrompt",
            display_name="Duet Timeline Prompt",
            category=CATEGORY,
            description="Adds a timeline to a text prompt, for models without plan layers (LTX-2, MiniMax H3). The model sees "
            "only text and may not follow the times exactly.",
            search_aliases=["ltx", "h3", "prompt", "timeline", "beats"],
            inputs=[
                io.String.Input(
                    "prompt", multiline=True, default="", tooltip="A description of what is seen and heard."
                ),
                io.Combo.Input(
                    "style",
                    options=list(STYLES),
                    default=STYLES[0],
                    tooltip="prose: one continuous paragraph, as LTX-2 recommends. beats: one line with a time for each event.",
                ),
                inputs.timeline(
                    "One event per line, e.g. '0.35 bell left'. Empty: the connected planner writes the timeline."
                ),
                io.Float.Input(
                    "seconds",
                    default=5.0,
                    min=1.0,
                    max=60.0,
                    step=0.1,
                    tooltip="Duration of the clip in seconds. Every event must be earlier.",
                ),
                inputs.seed(
                    "Timeline seed. A new seed gives different events. Not used if the timeline is written by hand."
                ),
                PlannerSocket.Input(
                    "planner",
                    optional=True,
                    tooltip="From 'Duet Load Timeline Writer', or the pocket planner (limited to its own vocabulary and 2 s).",
                ),
                inputs.song(),
            ],
            outputs=[
                io.String.Output(
                    display_name="prompt", tooltip="The prompt with the timeline, for the text encoder of the model."
                ),
                io.String.Output(display_name="timeline", tooltip=EVENTS_AS_TEXT),
            ],
        )

    @classmethod
    def validate_inputs(cls, timeline: str | None = None) -> bool | str:
        return timeline_fault(timeline)

    @classmethod
    def execute(
        cls,
        prompt: str,
        style: str,
        timeline: str,
        seconds: float,
        seed: int,
        planner: AnyPlanner | None = None,
        audio: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        if timeline.strip() or (planner is None and audio is not None):
            written = Timeline.read(timeline)  # with an audio an empty one is allowed: the editor then shows its beats
        elif planner is None:
            raise ValueError(
                "The timeline is empty, and there is no planner to write one. Enter events, or connect a planner."
            )
        else:
            written = planner.write(prompt, "", seed=seed, seconds=seconds)
        late = [event for event in written.events if event.when >= seconds]
        if late:
            raise ValueError(
                f"The {late[0].what} is at {late[0].when:g} s; the clip ends at {seconds:g} s. Change the time or 'seconds'."
            )
        state = editor_state(written, seconds=seconds, audio=audio)
        return io.NodeOutput(as_prompt(prompt, written, style), str(written), ui=state)
