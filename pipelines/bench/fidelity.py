"""How much of a true clip a codec gives back: pixels, what moves, spectra, events."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.sizes import ClipShape
from ..models.pocket.audio_codec import AudioCodec, griffin_lim, log_mel, magnitudes
from ..models.pocket.video_codec import VideoCodec
from ..sync.events import f1
from ..world import Scene
from ..world.truth import true_events
from .readings import Probes, render

MOVING = 0.04  # a pixel moves where it differs by more than this from its own median over the clip
ONSET_TOLERANCE = 0.05  # seconds: the field's usual window for onsets of sound
DECIBELS = 20 / 2.302585  # of one unit of natural logarithm


def moving(frames: Tensor) -> Tensor:
    """Which pixels show something that moves: [b, t, 1, h, w] bool."""
    return ((frames - frames.median(1, keepdim=True).values).abs() > MOVING).any(2, keepdim=True)


def psnr(a: Tensor, b: Tensor, where: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of frames in 0..1, over the pixels of ``where``."""
    error = (a - b).square()
    mean = error.mean() if where is None else error[where.expand_as(error)].mean()
    return float(-10 * mean.clamp_min(1e-10).log10())


def spectral_distance(a: Tensor, b: Tensor, *, sample_rate: int) -> float:
    """Mean absolute difference of the log-mel spectra of waveforms [b, channels, samples], in dB."""
    first, second = (3 * log_mel(w, sample_rate=sample_rate) for w in (a, b))
    return float((first - second).abs().mean()) * DECIBELS


@torch.inference_mode()
def picture_fidelity(codec: VideoCodec | None, probes: Probes, scenes: Sequence[Scene]) -> list[dict[str, float]]:
    """Of each scene's picture through ``codec`` (``None``: as rendered): PSNR, PSNR of what moves, F1 of events seen."""
    shape = ClipShape()
    frames, _ = render(scenes, shape)
    drawn = frames if codec is None else codec.decode(codec.encode(frames))
    where, seen = moving(frames), probes.video.read(drawn, fps=float(shape.fps))
    rows = []
    for k, scene in enumerate(scenes):
        truth = true_events(scene, stream="video")
        row = {"event_f1": f1(seen[k].events, truth)} if truth else {}
        if codec is not None:
            row |= {"psnr": psnr(drawn[k], frames[k])}
            row |= {"psnr_moving": psnr(drawn[k], frames[k], where[k])} if where[k].any() else {}
        rows.append(row)
    return rows


@torch.inference_mode()
def sound_fidelity(
    codec: AudioCodec, probes: Probes, scenes: Sequence[Scene], *, through: str
) -> list[dict[str, float]]:
    """Of each scene's sound ``through`` 'nothing', 'griffin-lim' alone or the whole 'codec': F1 of onsets and, where it
    changed, the spectral distance."""
    shape = ClipShape()
    _, sound = render(scenes, shape)
    if through == "codec":
        made = codec.decode(codec.encode(sound), samples=shape.samples)
    elif through == "griffin-lim":
        mel = log_mel(sound, sample_rate=shape.sample_rate)
        made = griffin_lim(magnitudes(mel.flatten(0, 1), sample_rate=shape.sample_rate), samples=shape.samples).view_as(
            sound
        )
    else:
        made = sound
    heard, rows = probes.audio.events(made), []
    for k, scene in enumerate(scenes):
        truth = true_events(scene, stream="audio")
        row = {"onset_f1": f1(heard[k], truth, tolerance=ONSET_TOLERANCE)} if truth else {}
        if through != "nothing":
            row["spectral_distance_db"] = spectral_distance(
                made[k : k + 1], sound[k : k + 1], sample_rate=shape.sample_rate
            )
        rows.append(row)
    return rows
