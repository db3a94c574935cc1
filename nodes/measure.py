"""Looking at clips: what happens when."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..pipelines.core.conditions import Plan
from ..pipelines.media.sound import shift_sound
from ..pipelines.sync.measure import measure, signals_of
from . import inputs
from .host.latent import clip_of
from .types import CATEGORY
from .types import Plan as PlanSocket

POCKET_EVENTS, OFFSETS, NONE = "pocket world", "offset curve", "none"


class DuetSyncMeter(io.ComfyNode):
    """Measures whether sound and picture of any clip agree."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSyncMeter",
            display_name="Duet Sync Meter",
            category=CATEGORY,
            description="Measures how late the sound of any clip is, second by second, with what chance would make of it; besides loudness "
            "and AV-Align. It needs no model and no training: it hears and sees that something happens, not what. Where nothing lines up "
            "better than by chance it says so.",
            search_aliases=["synchrony", "offset", "lip sync", "av-align", "lufs"],
            is_output_node=True,
            inputs=[io.Image.Input("images"), io.Audio.Input("audio"), inputs.fps()],
            outputs=[
                io.Float.Output(display_name="offset_ms", tooltip="Positive: the sound is late. 0 without evidence."),
                io.Boolean.Output(display_name="evidence", tooltip="Whether the offset means something."),
                io.String.Output(display_name="report"),
                io.Image.Output(display_name="picture", tooltip="The offset second by second."),
            ],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, audio: dict, fps: float) -> io.NodeOutput:
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.offsets import draw_curve

        measured = measure(signals_of(clip_of(images, audio, fps)))
        offset, report = measured.agreement.offset, str(measured)
        picture = pixels(draw_curve(measured))[None]
        return io.NodeOutput(1000 * (offset or 0.0), offset is not None, report, picture, ui=ui.PreviewText(report))


class DuetShiftAudio(io.ComfyNode):
    """Moves a sound in time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetShiftAudio",
            display_name="Duet Shift Audio",
            category=CATEGORY,
            description="Makes a sound earlier (positive: what 'Duet Sync Meter' found it to be late) or later, at the same length.",
            search_aliases=["offset", "delay", "sync"],
            inputs=[
                io.Audio.Input("audio"),
                io.Float.Input(
                    "late_ms",
                    default=0.0,
                    min=-10_000.0,
                    max=10_000.0,
                    step=1.0,
                    tooltip="By how much the sound is late. It is moved forward by that; a negative value delays it.",
                ),
            ],
            outputs=[io.Audio.Output(display_name="audio")],
        )

    @classmethod
    def execute(cls, audio: dict, late_ms: float) -> io.NodeOutput:
        moved = shift_sound(audio["waveform"], samples=round(late_ms / 1000 * audio["sample_rate"]))
        return io.NodeOutput({**audio, "waveform": moved})


class DuetTimelinePlot(io.ComfyNode):
    """Draws a clip's frames, spectrogram and events on one axis."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetTimelinePlot",
            display_name="Duet Timeline Plot",
            category=CATEGORY,
            description="Draws a clip's frames, its sound and the events of both streams on one axis of seconds, beside those of a plan; "
            "or how late the sound is from second to second.",
            search_aliases=["timeline", "spectrogram", "sync"],
            inputs=[
                io.Image.Input("images"),
                io.Audio.Input("audio"),
                inputs.fps(),
                io.String.Input("title", default="", tooltip="Above the picture."),
                io.Combo.Input(
                    "events",
                    options=[POCKET_EVENTS, OFFSETS, NONE],
                    default=POCKET_EVENTS,
                    tooltip="pocket world: found by the pocket model's own probes, which know its world alone. offset curve: how late the "
                    "sound is, of any clip. none: frames and sound alone.",
                ),
                PlanSocket.Input(
                    "plan", optional=True, tooltip="Its events are marked, and the clip's held against them."
                ),
            ],
            outputs=[io.Image.Output(display_name="picture"), io.String.Output(display_name="synchrony")],
        )

    @classmethod
    def execute(
        cls, images: torch.Tensor, audio: dict, fps: float, title: str, events: str, plan: Plan | None = None
    ) -> io.NodeOutput:
        from ..pipelines.bench.readings import reading_of
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.timeline import draw_timeline
        from ..pipelines.sync.events import against_plan

        clip = clip_of(images, audio, fps)
        heard, seen, score = reading_of(clip) if events == POCKET_EVENTS else ({}, {}, "")
        measured = measure(signals_of(clip)) if events == OFFSETS else None
        score = str(measured.agreement) if measured else score
        timeline = plan.timeline if plan else None
        if timeline and events == POCKET_EVENTS:
            score += f"; {against_plan(timeline, heard, seen)}"
        figure = draw_timeline(clip, heard, seen, title=title, score=score, plan=timeline, measured=measured)
        return io.NodeOutput(pixels(figure)[None], score)
