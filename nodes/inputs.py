"""Inputs shared by several nodes. Each node passes its own tooltip."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.models.pocket.generate import DEFAULT_STEPS

TEXT = "How strongly the {} follows the prompt. 1 is off, 2 to 4 is usual; above 6 colours oversaturate and motion becomes stiff."
CROSS = (
    "How strongly the {} follows the {}. 1 is off, {} is usual; far above that, two objects in one clip are confused."
)


def seed(tooltip: str, *, default: int = 0) -> io.Int.Input:
    """A seed input whose value stays fixed until the user changes it."""
    return io.Int.Input(
        "seed",
        default=default,
        min=0,
        max=2**63 - 1,
        control_after_generate=io.ControlAfterGenerate.fixed,
        tooltip=tooltip,
    )


def temperature(tooltip: str) -> io.Float.Input:
    """A sampling temperature, 0 to 2."""
    return io.Float.Input("temperature", default=1.0, min=0.0, max=2.0, step=0.05, tooltip=tooltip)


def fps() -> io.Float.Input:
    """The frame rate of an IMAGE input."""
    return io.Float.Input(
        "fps",
        default=16.0,
        min=0.1,
        max=240.0,
        step=0.01,
        tooltip="Frame rate of the images, in frames per second. Connect the fps output of 'Duet Decode'. A connected video has its "
        "own rate.",
    )


def images_and_audio() -> list[Any]:
    """A clip as IMAGE and AUDIO with a frame rate; an alternative to ``video``."""
    return [
        io.Image.Input("images", optional=True, tooltip="The frames of the clip, e.g. from 'Duet Decode'."),
        io.Audio.Input("audio", optional=True, tooltip="The audio of the clip."),
        fps(),
    ]


def target_lufs(default: float) -> io.Float.Input:
    """Integrated loudness to which audio is adjusted; 0 leaves it unchanged."""
    return io.Float.Input(
        "target_lufs",
        default=default,
        min=-50.0,
        max=0.0,
        step=0.5,
        optional=True,
        tooltip="Target loudness in LUFS, from -50 to -5: -16 is common online, -23 in broadcasting. 0 leaves the loudness "
        "unchanged. The true peak is limited to -1 dB in either case, so very loud targets may not be reached.",
    )


CLIP = "A clip, instead of images and audio. Its own frame rate and sample rate are used."


def video(tooltip: str) -> io.Video.Input:
    """An optional video."""
    return io.Video.Input("video", optional=True, tooltip=tooltip)


def seconds(name: str, default: float, tooltip: str, **options: Any) -> io.Float.Input:
    """A time or duration in seconds, 0 to 600."""
    return io.Float.Input(name, default=default, min=0.0, max=600.0, step=0.05, tooltip=tooltip, **options)


def steps(tooltip: str, default: int = DEFAULT_STEPS) -> io.Int.Input:
    """A number of sampling steps, 1 to 1000."""
    return io.Int.Input("steps", default=default, min=1, max=1000, tooltip=tooltip)


def sampling() -> list[Any]:
    """The optional sampler and noise levels of a node that samples."""
    return [
        io.Sampler.Input(
            "sampler",
            optional=True,
            tooltip="The sampling algorithm. Default: euler; for the pocket models DPM-Solver++(2M) at high noise and euler below.",
        ),
        io.Sigmas.Input(
            "sigmas",
            optional=True,
            tooltip="Noise levels to use instead of the model's default schedule. Non-Duet models require sigmas.",
        ),
    ]


def timeline(tooltip: str) -> io.String.Input:
    """Events as text, one per line."""
    return io.String.Input("timeline", multiline=True, default="", tooltip=tooltip)


def song(name: str = "audio") -> io.Audio.Input:
    """An optional AUDIO that the timeline editor shows."""
    return io.Audio.Input(
        name,
        optional=True,
        tooltip="Audio to place events against, e.g. a song. After a run the editor shows its waveform, and its onsets or beats become "
        "events in one click. It does not change the output.",
    )


def scale(name: str, default: float, tooltip: str) -> Any:
    """A guidance scale, 0 to 30."""
    return io.Float.Input(name, default=default, min=0.0, max=30.0, step=0.1, tooltip=tooltip)


def scales(text: float, cross: float, usual: str) -> list[Any]:
    """The four scales of a cross-modal strategy; ``usual`` is the usual range of the cross-modal ones, as text."""
    return [
        scale("video", text, TEXT.format("video")),
        scale("audio", text, TEXT.format("audio")),
        scale("audio_to_video", cross, CROSS.format("video", "audio", usual)),
        scale("video_to_audio", cross, CROSS.format("audio", "video", usual)),
    ]
