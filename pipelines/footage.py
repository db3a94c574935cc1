"""Footage as what a clip begins with: a picture to make the sound for, a sound to make the picture for, or a first frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from .conform import read_sound, read_streams, resampled
from .generate import latent_sizes
from .given import AUDIO, FIRST, VIDEO, Given, made_frames
from .media import fit_sound
from .models.pocket.familiar import ELSEWHERE, picture_strange, sound_strange
from .models.pocket.load import PocketModel
from .shapes import VIDEO_STRIDE, ClipShape
from .streams import Clip, Streams

SLACK = 0.1  # seconds by which footage may be too short; the rest is filled with its last frame or with silence


@dataclass(frozen=True)
class Footage:
    """One file's stream, and what to keep of it: ``keep`` is 'video', 'audio' or 'first frame'."""

    keep: str
    frames: Float[Tensor, "f h w 3"] | None = None
    waveform: Float[Tensor, "channels samples"] | None = None
    sample_rate: int = 0

    def over(self, clip: Clip) -> Clip:
        """``clip`` with the kept stream as it was given instead of as the model's codec has it."""
        if self.frames is not None and self.keep == VIDEO:
            return Clip(self.frames, clip.fps, clip.waveform, clip.sample_rate)
        if self.waveform is not None:
            return Clip(clip.frames, clip.fps, self.waveform, self.sample_rate)
        return clip


def read_footage(path: Path, keep: str, shape: ClipShape, *, start: float = 0.0) -> Footage:
    """``shape.duration`` seconds of ``path`` from ``start`` on, or its first frame.

    Raises:
        ValueError: the file cannot be read, lacks the stream, or is too short.
    """
    streams = read_streams(path, shape)
    stream = streams.audio if keep == AUDIO else streams.video
    if stream is None:
        raise ValueError(f"{path} has no {AUDIO if keep == AUDIO else VIDEO} stream to keep.")
    if keep == FIRST:
        return Footage(keep, frames=stream[:1])
    lasts = stream.shape[1] / shape.sample_rate if keep == AUDIO else len(stream) / shape.fps
    if start < 0 or start + shape.duration > lasts + SLACK:
        raise ValueError(
            f"{path} lasts {lasts:.2f} s, and {shape.duration:g} s from {start:g} s on are needed. Give a longer file, or ask for fewer "
            "seconds."
        )
    if keep == AUDIO:
        waveform, rate = read_sound(path)
        return Footage(
            keep, waveform=waveform[:, round(start * rate) :][:, : round(shape.duration * rate)], sample_rate=rate
        )
    frames = stream[round(start * shape.fps) :][: shape.frames]
    missing = shape.frames - len(frames)
    return Footage(keep, frames=torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)]))


@torch.inference_mode()
def given_footage(model: PocketModel, footage: Footage, shape: ClipShape, count: int, *, anyway: bool = False) -> Given:
    """What ``count`` clips begin with.

    Raises:
        ValueError: the footage is not of the pocket world, and ``anyway`` is not set.
    """
    sizes = latent_sizes(model.network.config, shape)
    latents, strange = sizes.map(lambda size: torch.zeros(1, *size)), ""
    if footage.frames is not None:
        frames = footage.frames.permute(0, 3, 1, 2)
        strange = picture_strange(frames)
        if footage.keep == FIRST:
            first = model.video_codec.encode(frames.expand(VIDEO_STRIDE[0], -1, -1, -1)[None])
            latents.both()[0][:, :, :1] = first
        else:
            latents = Streams(model.video_codec.encode(frames[None]), latents.audio)
    elif footage.waveform is not None:
        sound = resampled(footage.waveform, rate=footage.sample_rate, to=shape.sample_rate)
        sound = fit_sound(sound, seconds=shape.duration, sample_rate=shape.sample_rate)
        strange = sound_strange(model.audio_codec, sound)
        latents = Streams(latents.video, model.audio_codec.encode(sound[None]))
    if strange and not anyway:
        raise ValueError(f"{strange} {ELSEWHERE}")
    made = made_frames(footage.keep, latents.map(lambda z: z.shape[2]), seconds=shape.duration)
    return Given(latents.map(lambda z: z.expand(count, *z.shape[1:])), made.map(lambda m: m.expand(count, -1)))
