"""Conversions between the host's nested latents and Streams."""

from __future__ import annotations

from typing import Any

import comfy.nested_tensor
import comfy.sd
import torch
from torch import Tensor

from ...pipelines.core.streams import Clip, Streams
from ...pipelines.media.sound import fit_sound
from ..types import CLIP_SPEC


def nest(streams: Streams[Tensor]) -> comfy.nested_tensor.NestedTensor:
    """Both streams as the host's nested latent, video first."""
    return comfy.nested_tensor.NestedTensor((streams.video, streams.audio))


def unnest(latent: dict[str, Any]) -> Streams[Tensor]:
    """Both streams of a LATENT.

    Raises:
        ValueError: the latent has only one stream.
    """
    samples = latent["samples"]
    if not getattr(samples, "is_nested", False) or len(samples.unbind()) != 2:
        raise ValueError(
            "The latent does not contain a video and an audio stream. "
            "Connect a latent from 'Duet Empty Latent' or another joint audio-video latent."
        )
    return Streams(*samples.unbind())


def frame_rate(latent: dict[str, Any], video_vae: comfy.sd.VAE, fps: float = 0.0) -> float:
    """Frames per second of a LATENT: ``fps`` if it is set, else its own entry, the clip it was created for, or the fixed rate
    of its VAE.

    Raises:
        ValueError: none of them states a rate.
    """
    spec = latent.get(CLIP_SPEC)
    rate = fps or latent.get("frame_rate") or (spec and spec.fps) or getattr(video_vae, "fps", None)
    if not rate:
        raise ValueError(
            "The latent does not state its frame rate. Set 'fps' to the rate the clip was generated for (LTX: the value in "
            "'LTXVConditioning', 24 or 25), or sample with 'Duet Sampler', which reads it from the prompt."
        )
    return float(rate)


def sample_rate(audio_vae: comfy.sd.VAE) -> int:
    """Samples per second of what an audio VAE decodes. The host's LTX audio VAE states its input rate in ``audio_sample_rate`` and
    its vocoder's rate elsewhere."""
    codec = audio_vae.first_stage_model
    stated = (
        getattr(audio_vae, "audio_sample_rate_output", None),
        getattr(codec, "output_sample_rate", None),
        audio_vae.audio_sample_rate,
    )
    return int(next(rate for rate in stated if rate))


@torch.inference_mode()
def decoded(
    latent: dict[str, Any], video_vae: comfy.sd.VAE, audio_vae: comfy.sd.VAE, *, tiling: bool = False, fps: float = 0.0
) -> tuple[list[Tensor], list[dict[str, Any]], float]:
    """IMAGE and AUDIO of each clip of a LATENT, with equal durations, and their frame rate."""
    fps, rate = frame_rate(latent, video_vae, fps), sample_rate(audio_vae)
    streams = unnest(latent)
    clips = (video_vae.decode_tiled if tiling else video_vae.decode)(streams.video)
    waveforms = audio_vae.decode(streams.audio).movedim(-1, 1)
    sounds = [
        {"waveform": fit_sound(w, seconds=len(c) / fps, sample_rate=rate)[None], "sample_rate": rate}
        for w, c in zip(waveforms, clips, strict=True)
    ]
    return list(clips), sounds, fps


def clip_of(images: Tensor, audio: dict[str, Any], fps: float) -> Clip:
    """IMAGE and AUDIO as a clip."""
    return Clip(images[..., :3].float().cpu(), fps, audio["waveform"][0].float().cpu(), audio["sample_rate"])
