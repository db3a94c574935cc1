"""Measuring, correcting and plotting audio-video synchrony of any clip."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..pipelines.core.conditions import Plan
from ..pipelines.sync.audio_guard import guard
from ..pipelines.sync.measure import measure, signals_of
from . import inputs
from .host.clips import clip_from, no_video, shifted, shifted_video, with_silence
from .host.interrupt import Cancellable
from .host.notice import show
from .host.synchformer import synchformer_files, synchformer_report
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
            "needed: it compares audio onsets with visible events and does not recognise objects. It reports a confidence, and "
            "no evidence if the delay is uncertain.",
            search_aliases=["synchrony", "offset", "lip sync", "talking", "av-align", "lufs"],
            is_output_node=True,
            inputs=[
                *inputs.images_and_audio(),
                inputs.video(inputs.CLIP),
                io.Combo.Input(
                    "synchformer",
                    options=[NONE, *synchformer_files()],
                    default=NONE,
                    optional=True,
                    tooltip="Weights with which Synchformer (DeSync) also estimates the offset, in the report only. They are not part of "
                    "Duet: put the authors' synchformer_state_dict.pth into models/duet and keep 'synchformer' in its name.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    display_name="offset_ms",
                    tooltip="Audio delay in milliseconds. Positive: the audio is late. 0 if there is no evidence.",
                ),
                io.Boolean.Output(
                    display_name="evidence",
                    tooltip="True if the offset is right within one frame with a probability of at least 0.65.",
                ),
                io.String.Output(display_name="report", tooltip="All measurements as text, also shown on the node."),
                io.Image.Output(display_name="picture", tooltip="A plot of the offset over time."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        images: torch.Tensor | None = None,
        audio: dict | None = None,
        fps: float = 16.0,
        video: io.Video.Type | None = None,
        synchformer: str = NONE,
    ) -> io.NodeOutput:
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.offsets import draw_curve

        clip = clip_from(video=video, images=images, audio=audio, fps=fps)
        with Cancellable():
            second = [] if synchformer == NONE else [synchformer_report(synchformer, clip)]
            measured = measure(signals_of(clip))
        offset, report = measured.agreement.offset, "\n".join([str(measured), *second])
        picture = pixels(draw_curve(measured))[None]
        return io.NodeOutput(1000 * (offset or 0.0), offset is not None, report, picture, ui=show(cls, report))


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
                io.Audio.Input("audio", optional=True, tooltip="The audio to shift. Or connect a video."),
                io.Float.Input(
                    "late_ms",
                    default=0.0,
                    min=-10_000.0,
                    max=10_000.0,
                    step=1.0,
                    tooltip="Delay of the audio in milliseconds. A positive value shifts the audio earlier by that amount, a "
                    "negative value shifts it later. 0 changes nothing.",
                ),
                inputs.video("A video whose audio is shifted, instead of an audio."),
            ],
            outputs=[
                io.Audio.Output(display_name="audio", tooltip="The shifted audio. The gap is filled with silence."),
                io.Video.Output(
                    display_name="video",
                    tooltip="The video with the shifted audio. Only available if a video is connected.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, audio: dict | None = None, late_ms: float = 0.0, video: io.Video.Type | None = None
    ) -> io.NodeOutput:
        if video is not None and audio is None:
            return io.NodeOutput(*shifted_video(video, late_ms))
        if audio is not None and video is None:
            return io.NodeOutput(shifted(audio, late_ms), no_video())
        raise ValueError("Connect either an audio or a video to shift, not both or neither.")


class DuetAudioGuard(io.ComfyNode):
    """Limits peaks, optionally adjusts loudness, and reports audible defects."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetAudioGuard",
            display_name="Duet Audio Guard",
            category=CATEGORY,
            description="Adjusts audio to a target loudness, limits its true peak to -1 dB, and reports silence, clipping and a "
            "possible burst in the first half second. Audio that needs no change is output unchanged.",
            search_aliases=["loudness", "lufs", "normalize audio", "limiter", "true peak", "clipping"],
            inputs=[
                io.Audio.Input("audio", tooltip="The audio to check. Each clip of a batch is processed separately."),
                inputs.target_lufs(-16.0),
            ],
            outputs=[
                io.Audio.Output(display_name="audio", tooltip="The audio with a true peak of at most -1 dB."),
                io.String.Output(
                    display_name="report",
                    tooltip="Loudness and true peak before and after, and the defects found. Also shown on the node.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, audio: dict, target_lufs: float) -> io.NodeOutput:
        rate, target = audio["sample_rate"], target_lufs or None
        found = [guard(waveform, sample_rate=rate, target=target) for waveform in audio["waveform"]]
        report = "\n".join(map(str, found))
        guarded = torch.stack([each.waveform for each in found])
        return io.NodeOutput({**audio, "waveform": guarded}, report, ui=show(cls, report))


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
                *inputs.images_and_audio(),
                io.String.Input("title", default="", tooltip="Title shown above the plot. Empty: no title."),
                io.Combo.Input(
                    "events",
                    options=[POCKET_EVENTS, OFFSETS, NONE],
                    default=POCKET_EVENTS,
                    tooltip="pocket world: events detected by probes that only know clips of the pocket model, at any size and rate. "
                    "offset curve: audio delay over time, for any clip. none: only frames and audio.",
                ),
                PlanSocket.Input(
                    "plan",
                    optional=True,
                    tooltip="Planned events are marked in the plot and compared with the detected events.",
                ),
                inputs.video(inputs.CLIP),
            ],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="The plot."),
                io.String.Output(
                    display_name="synchrony",
                    tooltip="The measured synchrony as text, including the match with the plan; empty for 'none'.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        images: torch.Tensor | None = None,
        audio: dict | None = None,
        fps: float = 16.0,
        title: str = "",
        events: str = POCKET_EVENTS,
        plan: Plan | None = None,
        video: io.Video.Type | None = None,
    ) -> io.NodeOutput:
        from ..pipelines.bench.readings import read_events, unlike_the_world
        from ..pipelines.figures.canvas import pixels
        from ..pipelines.figures.timeline import draw_timeline
        from ..pipelines.sync.events import against_plan

        with Cancellable():
            clip = with_silence(clip_from(video=video, images=images, audio=audio, fps=fps))
            heard, seen, score = read_events(clip) if events == POCKET_EVENTS else ({}, {}, "")
            warning = unlike_the_world(clip) if events == POCKET_EVENTS else ""
            measured = measure(signals_of(clip)) if events == OFFSETS else None
        score = str(measured.agreement) if measured else score
        timeline = plan.timeline if plan else None
        if timeline and events == POCKET_EVENTS:
            score += f"; {against_plan(timeline, heard, seen)}"
        figure = draw_timeline(clip, heard, seen, title=title, score=score, plan=timeline, measured=measured)
        return io.NodeOutput(pixels(figure)[None], score, ui=show(cls, score, warning))
