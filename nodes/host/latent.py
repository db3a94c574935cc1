"""The host's nested latents and our Streams."""

from __future__ import annotations

from typing import Any

import comfy.nested_tensor
import comfy.sd
from torch import Tensor

from ...pipelines.core.streams import Clip, Streams
from ...pipelines.media.sound import fit_sound


def nest(streams: Streams[Tensor]) -> comfy.nested_tensor.NestedTensor:
    """Both streams as the host's nested latent, video first."""
    return comfy.nested_tensor.NestedTensor((streams.video, streams.audio))


def unnest(latent: dict[str, Any]) -> Streams[Tensor]:
    """Both streams of a LATENT.

    Raises:
        ValueError: the latent holds one stream only.
    """
    samples = latent["samples"]
    if not getattr(samples, "is_nested", False) or len(samples.unbind()) != 2:
        raise ValueError(
            "The latent holds no pair of streams. Connect a latent from 'Duet Empty Latent' or another joint audio-video latent."
        )
    return Streams(*samples.unbind())


def decoded(
    latent: dict[str, Any], video_vae: comfy.sd.VAE, audio_vae: comfy.sd.VAE, *, tiling: bool = False
) -> tuple[list[Tensor], list[dict[str, Any]], float]:
    """IMAGE and AUDIO of each take of a LATENT, both of one length, and their frame rate."""
    streams = unnest(latent)
    clips = (video_vae.decode_tiled if tiling else video_vae.decode)(streams.video)
    waveforms = audio_vae.decode(streams.audio).movedim(-1, 1)
    fps, rate = float(latent.get("frame_rate", getattr(video_vae, "fps", 16))), audio_vae.audio_sample_rate
    sounds = [
        {"waveform": fit_sound(w, seconds=len(c) / fps, sample_rate=rate)[None], "sample_rate": rate}
        for w, c in zip(waveforms, clips, strict=True)
    ]
    return list(clips), sounds, fps


def clip_of(images: Tensor, audio: dict[str, Any], fps: float) -> Clip:
    """IMAGE and AUDIO as a clip."""
    return Clip(images[..., :3].float().cpu(), fps, audio["waveform"][0].float().cpu(), audio["sample_rate"])
