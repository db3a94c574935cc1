"""How well a codec reconstructs rendered clips: pixels, moving pixels, spectra, events."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.sizes import VIDEO_STRIDE, ClipShape
from ..models.pocket.audio_codec import AudioCodec, log_mel
from ..models.pocket.video_codec import VideoCodec
from ..sync.events import f1
from ..world import Scene
from ..world.truth import true_events
from .readings import Probes, render
from .sound_audit import measures

MOVING = 0.04  # a pixel is moving where it differs by more than this from its median over the clip
ONSET_TOLERANCE = 0.05  # seconds: the usual tolerance for audio onsets
DECIBELS = 20 / 2.302585  # dB per unit of a natural logarithm of amplitude
AUDIO_PATHS = ("nothing", "vocoder", "codec")  # what ``audio_fidelity`` passes waveforms through


def moving(frames: Tensor) -> Tensor:
    """Which pixels of frames [b, t, c, h, w] are moving: [b, t, 1, h, w] bool."""
    return ((frames - frames.median(1, keepdim=True).values).abs() > MOVING).any(2, keepdim=True)


def psnr(a: Tensor, b: Tensor, where: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of frames in 0..1, over the pixels of ``where`` (``None``: all)."""
    error = (a - b).square()
    mean = error.mean() if where is None else error[where.expand_as(error)].mean()
    return float(-10 * mean.clamp_min(1e-10).log10())


def blockiness(frames: Tensor, *, cell: int = VIDEO_STRIDE[1]) -> float:
    """Mean squared difference of neighbouring pixels across the edges of ``cell`` x ``cell`` cells, over that inside them; about 1
    for a picture without blocks. frames: [..., h, w]."""
    energies = []
    for axis in (-1, -2):
        step = frames.diff(dim=axis).square().transpose(axis, -1)
        edge = torch.arange(1, step.shape[-1] + 1) % cell == 0
        energies.append((step[..., edge].mean(), step[..., ~edge].mean()))
    return float(sum(across for across, _ in energies) / sum(inside for _, inside in energies))


def spectral_distance(a: Tensor, b: Tensor, *, sample_rate: int) -> float:
    """Mean absolute difference of the log-mel spectra of waveforms [b, channels, samples], in dB."""
    first, second = (3 * log_mel(w, sample_rate=sample_rate) for w in (a, b))
    return float((first - second).abs().mean()) * DECIBELS


@torch.inference_mode()
def video_fidelity(codec: VideoCodec | None, probes: Probes, scenes: Sequence[Scene]) -> list[dict[str, float]]:
    """For the video of each scene after ``codec`` (``None``: as rendered): PSNR, PSNR of moving pixels, blockiness relative to the
    rendered frames, F1 of the events seen."""
    shape = ClipShape()
    frames, _ = render(scenes, shape)
    decoded = frames if codec is None else codec.decode(codec.encode(frames))
    where, seen = moving(frames), probes.video.read(decoded, fps=float(shape.fps))
    rows = []
    for k, scene in enumerate(scenes):
        truth = true_events(scene, stream="video")
        row = {"event_f1": f1(seen[k].events, truth)} if truth else {}
        if codec is not None:
            row |= {"psnr": psnr(decoded[k], frames[k]), "blockiness": blockiness(decoded[k]) / blockiness(frames[k])}
            row |= {"psnr_moving": psnr(decoded[k], frames[k], where[k])} if where[k].any() else {}
        rows.append(row)
    return rows


@torch.inference_mode()
def audio_fidelity(
    codec: AudioCodec, probes: Probes, scenes: Sequence[Scene], *, through: str
) -> list[dict[str, float]]:
    """For the audio of each scene after one of ``AUDIO_PATHS``: F1 of the onsets and, if it passed through anything, the spectral
    distance in dB and the ``measures`` of the sound audit."""
    shape = ClipShape()
    _, original = render(scenes, shape)
    if through == "codec":
        result = codec.decode(codec.encode(original), samples=shape.samples)
    elif through == "vocoder":
        result = codec.waveforms(log_mel(original, sample_rate=shape.sample_rate), samples=shape.samples)
    else:
        result = original
    heard, rows = probes.audio.events(result), []
    for k, scene in enumerate(scenes):
        truth = true_events(scene, stream="audio")
        row = {"onset_f1": f1(heard[k], truth, tolerance=ONSET_TOLERANCE)} if truth else {}
        if through != "nothing":
            row |= (
                measures(result[k], original[k], sorted(t for times in truth.values() for t in times)) if truth else {}
            )
            row["spectral_distance_db"] = spectral_distance(
                result[k : k + 1], original[k : k + 1], sample_rate=shape.sample_rate
            )
        rows.append(row)
    return rows
