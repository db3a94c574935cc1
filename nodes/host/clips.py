"""Clips from the host's IMAGE, AUDIO and VIDEO."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from comfy_api.latest import InputImpl, Types, io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ...pipelines.core.streams import Clip
from ...pipelines.media.aac import QUIET, peak_level, safe_ceiling
from ...pipelines.media.limiter import limit_peaks
from ...pipelines.media.sound import read_sound, shift_sound

EITHER = "Connect either a video, or images and audio"


def clip_of(images: Tensor, audio: dict[str, Any], fps: float) -> Clip:
    """IMAGE and AUDIO as a clip."""
    return Clip(images[..., :3].float().cpu(), fps, audio["waveform"][0].float().cpu(), audio["sample_rate"])


def clip_from(*, video: io.Video.Type | None, images: Tensor | None, audio: dict[str, Any] | None, fps: float) -> Clip:
    """The clip that is connected to a node: a VIDEO at its own rates, or IMAGE and AUDIO at ``fps``. A video without audio has a
    waveform without samples.

    Raises:
        ValueError: nothing is connected, only half of a clip, or both kinds.
    """
    if video is None:
        if images is None or audio is None:
            missing = [name for name, value in (("images", images), ("audio", audio)) if value is None]
            raise ValueError(f"No clip is connected: {' and '.join(missing)} missing. {EITHER}.")
        return clip_of(images, audio, fps)
    if images is not None or audio is not None:
        raise ValueError(f"Both a video and images or audio are connected. {EITHER}.")
    parts = video.get_components()
    silence = {"waveform": torch.zeros(1, 2, 0), "sample_rate": 48_000}
    return clip_of(parts.images, parts.audio or silence, float(parts.frame_rate))


def with_silence(clip: Clip) -> Clip:
    """``clip``, with silence of its duration if it has no audio."""
    if clip.waveform.shape[1]:
        return clip
    return replace(clip, waveform=torch.zeros(2, round(len(clip.frames) / clip.fps * clip.sample_rate)))


def shifted(audio: dict[str, Any], late_ms: float) -> dict[str, Any]:
    """AUDIO moved earlier by ``late_ms`` milliseconds."""
    moved = shift_sound(audio["waveform"], samples=round(late_ms / 1000 * audio["sample_rate"]))
    return {**audio, "waveform": moved}


def shifted_video(video: io.Video.Type, late_ms: float) -> tuple[dict[str, Any], io.Video.Type]:
    """The audio of a VIDEO moved earlier by ``late_ms`` milliseconds with a true peak of at most -1 dB, and the VIDEO with that audio.

    Raises:
        ValueError: the video has no audio.
    """
    parts = video.get_components()
    if parts.audio is None:
        raise ValueError("The video has no audio to shift. Connect a video with audio.")
    audio = shifted(parts.audio, late_ms)
    rate = audio["sample_rate"]
    audio = {**audio, "waveform": torch.stack([limit_peaks(w, sample_rate=rate) for w in audio["waveform"]])}
    parts = Types.VideoComponents(images=parts.images, audio=audio, frame_rate=parts.frame_rate)
    return audio, LimitedVideo(parts)


class LimitedVideo(InputImpl.VideoFromComponents):
    """A video whose audio has a true peak of at most -1 dB also after the host has encoded it, in whichever format."""

    def save_to(self, path: Any, *positional: Any, **named: Any) -> None:
        parts = self.get_components()
        if parts.audio is not None and peak_level(parts.audio["waveform"][0].float().cpu()) >= QUIET:
            suffix = Path(path).suffix if isinstance(path, (str, Path)) else ".mp4"
            ceiling = safe_ceiling(lambda tried: _encoded_peak(_limited(parts, tried), suffix, positional, named))
            parts = _limited(parts, ceiling)
        InputImpl.VideoFromComponents(parts).save_to(path, *positional, **named)


def _limited(parts: Any, ceiling: float) -> Any:
    """The components of a video with the true peak of its audio limited to ``ceiling`` dB."""
    waveform = limit_peaks(
        parts.audio["waveform"][0].float().cpu(), sample_rate=parts.audio["sample_rate"], ceiling=ceiling
    )
    return replace(parts, audio={**parts.audio, "waveform": waveform[None]})


def _encoded_peak(parts: Any, suffix: str, positional: tuple[Any, ...], named: dict[str, Any]) -> float:
    """The true peak, in dB, of the audio of ``parts`` as the host writes it, whose encoder depends on its version and on the format."""
    black = replace(parts, images=parts.images.new_zeros(len(parts.images), 64, 64, 3))
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"audio{suffix}"
        InputImpl.VideoFromComponents(black).save_to(str(path), *positional, **named)
        return peak_level(read_sound(path)[0])


def no_video() -> ExecutionBlocker:
    """The value of a video output if no video is connected: nodes that need it stop with this message."""
    return ExecutionBlocker("'Duet Shift Audio' outputs a video only if one is connected to its video input.")
