"""Footage in the host: pictures and sound at a latent's size, and which latent frames are kept."""

from __future__ import annotations

import logging
from typing import Any

import comfy.sd
import comfy.utils
import torch
import torch.nn.functional as F
from torch import Tensor

from ...pipelines.core.keep import expand_over_latent, regenerated_frames
from ...pipelines.core.sizes import ClipSpec
from ...pipelines.core.streams import Streams
from ...pipelines.media.conform import conform_frames, fit_picture
from ...pipelines.media.sound import fit_sound, resample
from ...pipelines.models.pocket.audio_codec import AudioCodec
from ...pipelines.models.pocket.domain import OUT_OF_DOMAIN_ADVICE, picture_out_of_domain, sound_out_of_domain
from ...pipelines.models.pocket.video_codec import VideoCodec
from ..types import CLIP_SPEC
from .latent import nest, unnest

log = logging.getLogger(__name__)
TWO = 2  # pictures that are taken as the first and the last one
H3_AUDIO = (32, 2)  # channels and stereo of MiniMax H3's audio latents, whose time comes last


def time_axis(latent: Tensor) -> int:
    """The axis of a latent's frames: the third, but in MiniMax H3's sound the last."""
    return 3 if latent.ndim == 4 and tuple(latent.shape[1:3]) == H3_AUDIO else 2


def clip_seconds(latent: dict[str, Any], fps: float = 0.0, video_vae: comfy.sd.VAE | None = None) -> float:
    """How long the clip of a latent lasts, or 0 where the latent does not say."""
    asked = latent.get(CLIP_SPEC)
    if asked is not None:
        return asked.frames / asked.fps
    if video_vae is None or not fps:
        return 0.0
    return video_vae.upscale_ratio[0](unnest(latent).both()[0].shape[2]) / fps


def put_pictures(latent: dict[str, Any], vae: comfy.sd.VAE, images: Tensor, fps: float) -> tuple[dict[str, Any], str]:
    """``latent`` with ``images`` [t, h, w, 3], and what is strange about them. One picture fills the first latent frame, two the
    first and the last, more are a clip.

    Raises:
        ValueError: the clip is shorter than the latent.
    """
    streams = unnest(latent)
    video = streams.both()[0].clone()
    to_frames, rows, columns = vae.upscale_ratio
    asked = latent.get(CLIP_SPEC)
    height, width = (asked.height, asked.width) if asked else (video.shape[3] * rows, video.shape[4] * columns)
    frames, rate = to_frames(video.shape[2]), asked.fps if asked else round(fps)
    size = ClipSpec(height, width, frames, rate)
    pictures = [fit_picture((picture[..., :3] * 255).round().byte(), size) for picture in images]
    if len(pictures) <= TWO:
        shown = torch.stack(pictures).float() / 255
        for at, picture in zip((0, -1), shown, strict=False):
            video[:, :, at] = vae.encode(picture.expand(to_frames(1), -1, -1, -1))[:, :, 0].to(video)
    else:
        times = torch.arange(len(pictures), dtype=torch.float64) / (fps if asked else rate)
        shown = conform_frames(pictures, times, size)
        if len(shown) < frames - 1:
            raise ValueError(
                f"The pictures last {len(shown) / rate:.2f} s and the latent {frames / rate:.2f} s. Ask for a shorter empty latent, or "
                "load more frames."
            )
        shown = torch.cat([shown, shown[-1:].expand(max(0, frames - len(shown)), -1, -1, -1)])[:frames]
        video[:] = _same(vae.encode(shown), video, "pictures")
    strange = picture_out_of_domain(shown.permute(0, 3, 1, 2)) if _is_pocket(vae) else ""
    return {**latent, "samples": nest(Streams(video, streams.audio))}, strange


def put_sound(latent: dict[str, Any], vae: comfy.sd.VAE, audio: dict[str, Any], seconds: float) -> tuple[dict, str]:
    """``latent`` with a sound, cut to ``seconds`` or filled with silence, and what is strange about it."""
    streams = unnest(latent)
    rate = vae.audio_sample_rate
    waveform = resample(audio["waveform"][0], rate=audio["sample_rate"], to=rate)
    waveform = fit_sound(waveform, seconds=seconds or waveform.shape[1] / rate, sample_rate=rate)
    given = streams.both()[1]
    latent = {**latent, "samples": nest(Streams(streams.video, _same(vae.encode(waveform.T[None]), given, "sound")))}
    codec = vae.first_stage_model
    return latent, sound_out_of_domain(codec, waveform) if isinstance(codec, AudioCodec) else ""


def mask_of(
    latent: dict[str, Any], keep: str, *, seconds: float, start: float, end: float, again: Tensor | None
) -> dict[str, Any]:
    """``latent`` with the mask of what is made; ``again`` [n, h, w] marks what of the kept picture is made all the same."""
    streams = unnest(latent)
    made = regenerated_frames(keep, streams.map(lambda z: z.shape[time_axis(z)]), seconds=seconds, start=start, end=end)
    masks = streams.map(_over, made)
    if again is not None:
        video, audio = masks.both()
        painted = F.interpolate(again[None, None].float(), size=video.shape[2:], mode="trilinear")
        masks = Streams(torch.maximum(video, painted), audio)
    both = masks.map(_also_kept, _masks_of(latent))
    if any(mask.any() for mask in both.present()):
        return {**latent, "noise_mask": nest(both)}
    # As in a cascade, whose second pass regenerates what the first one kept.
    log.warning(
        "Duet Freeze Stream: with the mask that the latent already carries, everything would be kept. That mask is replaced: only %s is "
        "kept now.",
        keep,
    )
    return {**latent, "noise_mask": nest(masks)}


def _masks_of(latent: dict[str, Any]) -> Streams[Tensor]:
    """The masks that a LATENT already carries, of this node or of the host's own; one mask alone is the video's."""
    mask = latent.get("noise_mask")
    if getattr(mask, "is_nested", False):
        return Streams(*mask.unbind())
    return Streams(mask)


def _also_kept(mask: Tensor, earlier: Tensor | None) -> Tensor:
    """``mask`` with everything that an ``earlier`` one keeps kept as well."""
    if earlier is None:
        return mask
    shape = (earlier.shape[0], 1, *mask.shape[2:])
    return torch.minimum(mask, comfy.utils.reshape_mask(earlier.float(), shape)[:, :1])


def _over(latent: Tensor, made: Tensor) -> Tensor:
    """Frames that are made as the host's mask [1, 1, ...] of a latent."""
    axis = time_axis(latent)
    mask = expand_over_latent(made[None], latent.movedim(axis, 2)).movedim(2, axis)
    return mask.expand(1, 1, *latent.shape[2:]).contiguous()


def _is_pocket(vae: comfy.sd.VAE) -> bool:
    return isinstance(getattr(vae.first_stage_model, "codec", None), VideoCodec)


def _same(encoded: Tensor, wanted: Tensor, what: str) -> Tensor:
    """``encoded`` over the batch of ``wanted``, one latent frame more or less allowed at the end."""
    axis = time_axis(wanted)
    gap = wanted.shape[axis] - encoded.shape[axis]
    if abs(gap) == 1:
        length = encoded.shape[axis]
        last = encoded.narrow(axis, length - 1, 1)
        encoded = torch.cat([encoded, last], dim=axis) if gap > 0 else encoded.narrow(axis, 0, length - 1)
    if encoded.shape[1:] != wanted.shape[1:]:
        raise ValueError(
            f"The {what} are encoded to {tuple(encoded.shape[1:])}, and the latent has {tuple(wanted.shape[1:])}. Use the VAE of the "
            "latent's model, and a latent of the footage's length."
        )
    return encoded.to(wanted).expand_as(wanted).clone()


def notice(found: list[str], strange: list[str], *, anyway: bool) -> str:
    """What was given, in words.

    Raises:
        ValueError: something is not of the pocket world, and ``anyway`` is not set.
    """
    told = " ".join(reason for reason in strange if reason)
    if told and not anyway:
        raise ValueError(f"{told} {OUT_OF_DOMAIN_ADVICE}")
    return " ".join([f"Given: {', '.join(found)}. Keep it with 'Duet Freeze Stream'.", told]).strip()
