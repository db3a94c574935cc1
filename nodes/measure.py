"""Measuring, correcting and plotting audio-video synchrony of any clip."""

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
    """Measures how well audio and video of a clip are synchronised."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetSyncMeter",
            display_name="Duet Sync Meter",
            category=CATEGORY,
            description="Measures the audio delay of any clip, second by second, together with loudness and AV-Align. No model is "
            "needed: it compares audio onsets with sudden motion and does not recognise objects. If the streams do not "
            "match better than by chance, it reports that there is no evidence.",
            search_aliases=["synchrony", "offset", "lip sync", "talking", "av-align", "lufs"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The frames of the clip, e.g. from 'Duet Decode'."),
                io.Audio.Input("audio", tooltip="The audio of the clip."),
                inputs.fps(),
            ],
            outputs=[
                io.Float.Output(
                    display_name="offset_ms",
                    tooltip="Audio delay in milliseconds. Positive: the audio is late. 0 if there is no evidence.",
                ),
                io.Boolean.Output(
                    display_name="evidence", tooltip="True if the offset is better supported than chance."
                ),
                io.String.Output(display_name="report", tooltip="All measurements as text, also shown on the node."),
                io.Image.Output(display_name="picture", tooltip="A plot of the offset over time."),
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
    """Shifts audio in time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetShiftAudio",
            display_name="Duet Shift Audio",
            category=CATEGORY,
            description="Shifts audio earlier or later without changing its duration, e.g. by the offset that 'Duet Sync Meter' "
            "measured.",
            search_aliases=["offset", "delay", "sync", "lip sync", "dub"],
            inputs=[
                io.Audio.Input("audio", tooltip="The audio to shift."),
                io.Float.Input(
                    "late_ms",
                    default=0.0,
                    min=-10_000.0,
                    max=10_000.0,
                    step=1.0,
                    tooltip="Delay of the audio in milliseconds. A positive value shifts the audio earlier by that amount, a "
                    "negative value shifts it later. 0 changes nothing.",
                ),
            ],
            outputs=[
                io.Audio.Output(display_name="audio", tooltip="The shifted audio. The gap is filled with silence.")
            ],
        )

    @classmethod
    def execute(cls, audio: dict, late_ms: float) -> io.NodeOutput:
        moved = shift_sound(audio["waveform"], samples=round(late_ms / 1000 * audio["sample_rate"]))
        return io.NodeOutput({**audio, "waveform": moved})


class DuetTimelinePlot(io.ComfyNode):
    """Plots a clip's frames, spectrogram and events on one time axis."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetTimelinePlot",
            display_name="Duet Timeline Plot",
            category=CATEGORY,
            description="Plots the frames, audio and events of a clip on one time axis, together with the events of a plan if one is "
            "connected; or plots the audio delay over time.",
            search_aliases=["timeline", "spectrogram", "sync"],
            inputs=[
                io.Image.Input("images", tooltip="The frames of the clip, e.g. from 'Duet Decode'."),
                io.Audio.Input("audio", tooltip="The audio of the clip."),
                inputs.fps(),
                io.String.Input("title", default="", tooltip="Title shown above the plot. Empty: no title."),
                io.Combo.Input(
                    "events",
                    options=[POCKET_EVENTS, OFFSETS, NONE],
                    default=POCKET_EVENTS,
                    tooltip="pocket world: events detected by probes that only work on clips of the pocket model. offset curve: audio "
                    "delay over time, for any clip. none: only frames and audio.",
                ),
                PlanSocket.Input(
                    "plan",
                    optional=True,
                    tooltip="Planned events are marked in the plot and compared with the detected events.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="The plot."),
                io.String.Output(
                    display_name="synchrony",
                    tooltip="The measured synchrony as text, including the match with the plan; empty for 'none'.",
                ),
            ],
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
