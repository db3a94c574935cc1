"""Prompts whose events have times."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.core.conditions import Plan
from ..pipelines.core.streams import Streams
from ..pipelines.core.timed_events import TimedEvents
from . import inputs
from .host.editor import editor_state
from .host.notice import show
from .host.timed_node import encode_prompts, encode_timed, timed_of, with_timed_text
from .types import CATEGORY
from .types import Plan as PlanSocket


class DuetTimedPrompt(io.ComfyNode):
    """Encodes a prompt for the whole clip and texts that hold at certain times."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetTimedPrompt",
            display_name="Duet Timed Prompt",
            category=CATEGORY,
            description="Makes events happen at the times you ask for, without plan layers: within its time range the text of an event "
            "replaces the prompt in text attention, in the video, the audio or both. Works with LTX-2, MiniMax H3, JavisDiT and the "
            "pocket model. Check the result with 'Duet Plan Report'.",
            search_aliases=["timeline", "prompt schedule", "prompt relay", "timing", "events", "ltx", "h3"],
            inputs=[
                io.Model.Input("model", tooltip="LTX-2, MiniMax H3, JavisDiT or the pocket model."),
                io.Clip.Input("clip", tooltip="The text encoder of the model."),
                io.String.Input(
                    "video",
                    multiline=True,
                    default="",
                    tooltip="The prompt for the whole clip, without the events. It holds wherever no event does.",
                ),
                io.String.Input(
                    "audio",
                    multiline=True,
                    default="",
                    tooltip="What is heard in the whole clip, if it differs. If empty, the video prompt is used.",
                ),
                inputs.timeline(
                    "One event per line: a time or a range in seconds, the stream (both, video or audio; default both), a strength up to 1 "
                    "(default 1), a colon and a text, e.g. '0.5-1.2 both: a door slams' or '2.3 audio 0.8: thunder'. Lines that start "
                    "with # are comments. If empty, the events of the connected plan are used."
                ),
                inputs.seconds("seconds", 5.0, "Duration of the clip. Every event must lie within it."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much of an event's time range its text takes over from the prompt. 1: all of it; 0: the events have no "
                    "effect.",
                ),
                io.Float.Input(
                    "soft_edges",
                    default=0.0,
                    min=0.0,
                    max=5.0,
                    step=0.01,
                    advanced=True,
                    tooltip="Duration in seconds over which an event is faded in and out. 0: exact edges.",
                ),
                io.Boolean.Input(
                    "repeat_prompt",
                    default=True,
                    advanced=True,
                    tooltip="Whether the text of an event is encoded after the prompt, so that the scene stays the same. Switch it off if "
                    "your events describe the whole scene. Not used with the pocket model.",
                ),
                PlanSocket.Input(
                    "plan", optional=True, tooltip="A plan whose events are used if the timeline is empty. Optional."
                ),
                inputs.song("song"),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The MODEL that reads the times. Connect it to the guider or sampler of every stage.",
                ),
                io.Conditioning.Output(display_name="positive", tooltip="The prompt with its events."),
                PlanSocket.Output(display_name="plan", tooltip="What was asked for, for 'Duet Plan Report'."),
                io.String.Output(
                    display_name="texts",
                    tooltip="The texts that were encoded, with their times. Also shown on the node.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, video: str | None = None, timeline: str | None = None) -> bool | str:
        if video is not None and not video.strip():
            return "The video prompt is empty. Describe the whole clip; the prompt holds wherever no event does."
        try:
            TimedEvents.read(timeline or "")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        clip: io.Clip.Type,
        video: str,
        audio: str,
        timeline: str,
        seconds: float,
        strength: float,
        soft_edges: float,
        repeat_prompt: bool,
        plan: Plan | None = None,
        song: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        events = TimedEvents.read(timeline)
        if not timeline.strip() and plan is not None:
            events = plan.asked
        events.require_within(seconds)
        prompts = Streams(video, audio if audio.strip() else video)
        asked = Plan(Streams(), video, audio, None, 0, seconds, timed=events)
        positive, texts = None, "no events: the prompt holds for the whole clip"
        if not (events.events and strength):
            positive = encode_prompts(clip, prompts)
        if positive is None:
            timed = timed_of(clip, prompts, events, repeat_prompt, soft=soft_edges, strength=strength)
            model, positive, texts = with_timed_text(model), encode_timed(clip, timed), timed.listed()
        show(cls, texts)
        of_plan = None if timeline.strip() else events  # the editor shows them as long as the timeline is empty
        state = editor_state(of_plan, seconds=seconds, audio=song, shown=texts)
        return io.NodeOutput(model, positive, asked, texts, ui=state)
