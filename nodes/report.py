"""Plan reports: what was asked for against what is heard and seen."""

from __future__ import annotations

import json

import torch
from comfy_api.latest import io

from ..pipelines.core.conditions import Plan
from . import inputs
from .host.clips import clip_from, with_silence
from .host.interrupt import Cancellable
from .host.notice import show
from .types import CATEGORY
from .types import Plan as PlanSocket

AUTO, WORLD, ANY_CLIP = "auto", "pocket world", "any clip"
DETECTORS = {AUTO: None, WORLD: True, ANY_CLIP: False}


class DuetPlanReport(io.ComfyNode):
    """Compares a plan with a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetPlanReport",
            display_name="Duet Plan Report",
            category=CATEGORY,
            description="Compares a plan with what happens in a clip: for each event the time asked for, when it is heard and seen, and "
            "by how many milliseconds it is off. Clips of the pocket model are read by probes that know its objects; other clips by "
            "onsets of audio and motion, which do not tell objects apart.",
            search_aliases=["timeline", "timing", "events", "hit rate"],
            is_output_node=True,
            inputs=[
                PlanSocket.Input(
                    "plan", tooltip="What was asked for, e.g. from 'Duet Timed Prompt' or 'Duet Edit Plan'."
                ),
                *inputs.images_and_audio(),
                io.Combo.Input(
                    "detector",
                    options=list(DETECTORS),
                    default=AUTO,
                    tooltip="pocket world: probes that know the objects of the pocket model. any clip: onsets of audio and motion. auto: "
                    "the probes if the frames look like the pocket world.",
                ),
                inputs.video(inputs.CLIP),
            ],
            outputs=[
                io.Float.Output(
                    display_name="hit_rate",
                    tooltip="Share of the events within 125 ms in every stream asked for, 0 to 1.",
                ),
                io.Float.Output(
                    display_name="off_ms",
                    tooltip="Median distance of the events found, in milliseconds. 0 if none is found.",
                ),
                io.String.Output(display_name="report", tooltip="The table as text, also shown on the node."),
                io.String.Output(display_name="json", tooltip="The table as JSON, for other nodes."),
                io.Image.Output(display_name="picture", tooltip="The plan over the motion and the waveform."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        plan: Plan,
        images: torch.Tensor | None = None,
        audio: dict | None = None,
        fps: float = 16.0,
        detector: str = AUTO,
        video: io.Video.Type | None = None,
    ) -> io.NodeOutput:
        from ..pipelines.bench.plan_report import report_of
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.plan_report import draw_plan_report

        if not plan.asked.events:
            raise ValueError(
                "The plan has no events to compare with. Use a plan with a timeline, or 'Duet Timed Prompt'."
            )
        with Cancellable():
            clip = with_silence(clip_from(video=video, images=images, audio=audio, fps=fps))
            report = report_of(clip, plan.asked, world=DETECTORS[detector])
        picture = pixels(draw_plan_report(clip, report))[None]
        text, data = str(report), json.dumps(report.to_json())
        return io.NodeOutput(report.hit_rate, report.off_ms or 0.0, text, data, picture, ui=show(cls, text))
