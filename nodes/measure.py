"""Looking at clips: what happens when."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..pipelines.streams import Clip
from .types import CATEGORY

EVENTS = ("pocket world", "none")


class DuetTimelinePlot(io.ComfyNode):
    """Draws a clip's frames, spectrogram and events on one axis."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetTimelinePlot",
            display_name="Duet Timeline Plot",
            category=CATEGORY,
            description="Draws a clip's frames, its spectrogram and the events of both streams on one axis of seconds.",
            search_aliases=["timeline", "spectrogram", "sync"],
            inputs=[
                io.Image.Input("images"),
                io.Audio.Input("audio"),
                io.Float.Input(
                    "fps", default=16.0, min=0.1, max=240.0, step=0.01, tooltip="Frames per second of the pictures."
                ),
                io.String.Input("title", default="", tooltip="Above the picture."),
                io.Combo.Input(
                    "events",
                    options=list(EVENTS),
                    default=EVENTS[0],
                    tooltip="pocket world: found by the pocket model's own probes, which know its world alone. none: frames and "
                    "spectrogram, for any clip.",
                ),
            ],
            outputs=[io.Image.Output(display_name="picture"), io.String.Output(display_name="synchrony")],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, audio: dict, fps: float, title: str, events: str) -> io.NodeOutput:
        from ..pipelines.pictures import pixels  # matplotlib, which a start of ComfyUI should not wait for
        from ..pipelines.timeline import draw_timeline, reading_of

        clip = Clip(images[..., :3].float().cpu(), fps, audio["waveform"][0].float().cpu(), audio["sample_rate"])
        heard, seen, score = reading_of(clip) if events == EVENTS[0] else ({}, {}, "")
        return io.NodeOutput(pixels(draw_timeline(clip, heard, seen, title=title, score=score))[None], score)
