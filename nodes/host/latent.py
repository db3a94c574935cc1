"""Conversions between the host's nested latents and Streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.nested_tensor
import comfy.sd
import torch
from torch import Tensor

from ...pipelines.core.streams import Streams
from ...pipelines.media.sound import fit_sound
from ..types import CLIP_SPEC
from .interrupt import Cancellable

TILE = 512
Layout = Streams[tuple[int, int]]  # channels, and number of dimensions with the batch, of each stream's latent

FRAMES_BEFORE_GUIDES = (
    "duet_frames_before_guides"  # of a LATENT: latent frames of the clip, without LTX's guides after them
)
FIXED_RATES = {"MiniMaxH3VideoVAE": 24.0}  # frames per second of models that have one rate and state it nowhere


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


def require_layout(title: str, layout: Layout, shapes: Sequence[tuple[int, ...]]) -> None:
    """Check the ``shapes`` of a latent's streams, video first, before the model ``title`` samples them.

    Raises:
        ValueError: a stream has other channels or dimensions than ``layout``.
    """
    for name, shape, (channels, dims) in zip(("video", "audio"), shapes, layout.present(), strict=False):
        if (shape[1], len(shape)) != (channels, dims):
            raise ValueError(
                f"The {name} latent has the shape {tuple(shape)}; {title} needs {channels} channels and {dims} dimensions. "
                "Connect an empty latent for this model, or footage encoded with its own VAEs."
            )


def require_vaes(latent: dict[str, Any], video_vae: comfy.sd.VAE, audio_vae: comfy.sd.VAE) -> None:
    """Check that each VAE is for its stream of a LATENT.

    Raises:
        ValueError: the VAEs are swapped, or one is of another model.
    """
    streams = unnest(latent)
    vaes = Streams(video_vae, audio_vae)
    if all(vaes.swapped().map(_is_for, streams)) and not all(vaes.map(_is_for, streams)):
        raise ValueError(
            "The VAEs are swapped: an audio VAE is connected to 'video_vae' and a video VAE to 'audio_vae'. Connect each to the "
            "other input."
        )
    for name, vae, z in zip(("video", "audio"), vaes.both(), streams.both(), strict=True):
        if not _is_for(vae, z):
            raise ValueError(
                f"The VAE at '{name}_vae' is for latents with {vae.latent_channels} channels and {vae.latent_dim + 2} dimensions; "
                f"the {name} latent has the shape {tuple(z.shape)}. Connect the {name} VAE of the model that the latent is for."
            )


def _is_for(vae: comfy.sd.VAE, z: Tensor) -> bool:
    """Whether ``vae`` is for latents like ``z``; VAEs of other packs that do not state their channels are accepted."""
    channels, dims = getattr(vae, "latent_channels", None), getattr(vae, "latent_dim", None)
    return channels is None or dims is None or (channels, dims + 2) == (z.shape[1], z.ndim)


def frame_rate(latent: dict[str, Any], video_vae: comfy.sd.VAE, fps: float = 0.0) -> float:
    """Frames per second of a LATENT: ``fps`` if it is set, else its own entry, the clip it was created for, or the fixed rate
    of its VAE.

    Raises:
        ValueError: none of them states a rate.
    """
    rate = fps or _stated_rate(latent, video_vae)
    if not rate:
        raise ValueError(
            "The latent does not state its frame rate. Set 'fps' to the rate the clip was generated for (LTX: the value in "
            "'LTXVConditioning', 24 or 25), or sample with 'Duet Sampler', which reads it from the prompt."
        )
    return rate


def _stated_rate(latent: dict[str, Any], video_vae: comfy.sd.VAE) -> float:
    """Frames per second that a LATENT or its VAE states, or 0."""
    spec = latent.get(CLIP_SPEC)
    fixed = FIXED_RATES.get(type(video_vae.first_stage_model).__name__, 0.0)
    return float(latent.get("frame_rate") or (spec and spec.fps) or getattr(video_vae, "fps", fixed))


def own_rate(latent: dict[str, Any], video_vae: comfy.sd.VAE, audio_vae: comfy.sd.VAE) -> int:
    """Frames per second, rounded, that a LATENT has by itself: what it or its VAE states, or the rate at which LTX's streams last equally
    long, whose audio latents have a fixed rate. 0 if nothing tells."""
    if rate := _stated_rate(latent, video_vae):
        return round(rate)
    per_second = getattr(audio_vae.first_stage_model, "latents_per_second", 0.0)
    video, audio = unnest(latent).both()
    return round(video_vae.upscale_ratio[0](video.shape[2]) * per_second / audio.shape[2])


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
    """IMAGE and AUDIO of each clip of a LATENT, with equal durations, and their frame rate.

    Raises:
        ValueError: a VAE is not for its stream, or the frame rate is not known.
    """
    require_vaes(latent, video_vae, audio_vae)
    fps, rate = frame_rate(latent, video_vae, fps), sample_rate(audio_vae)
    streams = unnest(latent)
    video, audio = streams.both()
    video = video[:, :, : latent.get(FRAMES_BEFORE_GUIDES)]
    with Cancellable():
        clips = _in_tiles(video_vae, video) if tiling else video_vae.decode(video)
        waveforms = audio_vae.decode(audio).movedim(-1, 1)
    sounds = [
        {"waveform": fit_sound(w, seconds=len(c) / fps, sample_rate=rate)[None], "sample_rate": rate}
        for w, c in zip(waveforms, clips, strict=True)
    ]
    return list(clips), sounds, fps


def _in_tiles(vae: comfy.sd.VAE, video: Tensor) -> Tensor:
    """Frames [b, t, h, w, 3], decoded in tiles of ``TILE`` pixels a side; time is not divided."""
    side = TILE // vae.spacial_compression_decode()
    return vae.decode_tiled(video, tile_x=side, tile_y=side, overlap=side // 8, overlap_t=1)
