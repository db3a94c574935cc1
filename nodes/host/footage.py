"""Encoding images and audio at the size of a LATENT, and the masks of what a LATENT keeps."""

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
from ...pipelines.models.pocket.domain import OUT_OF_DOMAIN_ADVICE, audio_domain_problem, video_domain_problem
from ..types import CLIP_SPEC
from .latent import nest, unnest

log = logging.getLogger(__name__)
FIRST_AND_LAST = 2  # up to this many images are single frames, not a clip
H3_AUDIO = (32, 2)  # channels and stereo sides of MiniMax H3's audio latents, whose time axis is the last


def time_axis(latent: Tensor) -> int:
    """The axis of a stream's latent frames: 2, except 3 in MiniMax H3's audio."""
    return 3 if latent.ndim == 4 and tuple(latent.shape[1:3]) == H3_AUDIO else 2


def clip_seconds(latent: dict[str, Any], fps: float = 0.0, video_vae: comfy.sd.VAE | None = None) -> float:
    """Duration of the clip of a LATENT in seconds, or 0 if it is not known."""
    asked = latent.get(CLIP_SPEC)
    if asked is not None:
        return asked.frames / asked.fps
    if video_vae is None or not fps:
        return 0.0
    return video_vae.upscale_ratio[0](unnest(latent).both()[0].shape[2]) / fps


def put_pictures(
    latent: dict[str, Any], vae: comfy.sd.VAE, images: Tensor, fps: float, *, own: int = 0
) -> tuple[dict[str, Any], str]:
    """``latent`` with ``images`` [t, h, w, 3] encoded into it, and a warning if they are out of domain (or ""). One image fills the
    first latent frame, two fill the first and the last, more are a clip at ``fps``, converted to the latent's ``own`` rate (0: not
    known, and taken to be the same).

    Raises:
        ValueError: the clip is shorter than the latent.
    """
    streams = unnest(latent)
    video = streams.both()[0].clone()
    to_frames, rows, columns = vae.upscale_ratio
    asked = latent.get(CLIP_SPEC)
    height, width = (asked.height, asked.width) if asked else (video.shape[3] * rows, video.shape[4] * columns)
    frames, rate = to_frames(video.shape[2]), own or round(fps)
    size = ClipSpec(height, width, frames, rate)
    pictures = [fit_picture((picture[..., :3] * 255).round().byte(), size) for picture in images]
    if len(pictures) <= FIRST_AND_LAST:
        shown = torch.stack(pictures).float() / 255
        for at, picture in zip((0, -1), shown, strict=False):
            video[:, :, at] = vae.encode(picture.expand(to_frames(1), -1, -1, -1))[:, :, 0].to(video)
    else:
        times = torch.arange(len(pictures), dtype=torch.float64) / (fps if own else rate)
        shown = conform_frames(pictures, times, size)
        if len(shown) < frames - 1:
            raise ValueError(
                f"The images last {len(shown) / rate:.2f} s and the latent {frames / rate:.2f} s. Use a shorter empty latent, "
                "or load more frames."
            )
        shown = torch.cat([shown, shown[-1:].expand(max(0, frames - len(shown)), -1, -1, -1)])[:frames]
        video[:] = _same(vae.encode(shown), video, "images")
    warning = video_domain_problem(shown.permute(0, 3, 1, 2)) if getattr(vae, "pocket_world", False) else ""
    return {**latent, "samples": nest(Streams(video, streams.audio))}, warning


def put_sound(latent: dict[str, Any], vae: comfy.sd.VAE, audio: dict[str, Any], seconds: float) -> tuple[dict, str]:
    """``latent`` with audio encoded into it, cut or padded to ``seconds``, and a warning if it is out of domain (or "")."""
    streams = unnest(latent)
    rate = vae.audio_sample_rate
    waveform = resample(audio["waveform"][0], rate=audio["sample_rate"], to=rate)
    waveform = fit_sound(waveform, seconds=seconds or waveform.shape[1] / rate, sample_rate=rate)
    audio_latent = streams.both()[1]
    encoded = _same(vae.encode(waveform.T[None]), audio_latent, "audio")
    latent = {**latent, "samples": nest(Streams(streams.video, encoded))}
    codec = getattr(vae, "pocket_codec", None)
    return latent, audio_domain_problem(codec, waveform) if codec else ""


def mask_of(
    latent: dict[str, Any], keep: str, *, seconds: float, start: float, end: float, regenerate: Tensor | None
) -> dict[str, Any]:
    """``latent`` with a noise mask: 1 is regenerated, 0 is kept. ``regenerate`` [n, h, w] marks areas of the video that are regenerated
    even if ``keep`` covers them."""
    streams = unnest(latent)
    frames = streams.map(lambda z: z.shape[time_axis(z)])
    masks = streams.map(latent_mask, regenerated_frames(keep, frames, seconds=seconds, start=start, end=end))
    if regenerate is not None:
        video, audio = masks.both()
        painted = F.interpolate(regenerate[None, None].float(), size=video.shape[2:], mode="trilinear")
        masks = Streams(torch.maximum(video, painted), audio)
    both = masks.map(_also_kept, _masks_of(latent))
    if any(mask.any() for mask in both.present()):
        return {**latent, "noise_mask": nest(both)}
    # As in a cascade, whose second pass regenerates what the first one kept.
    log.warning(
        "Duet Freeze Stream: with the mask that the latent already has, everything would be kept. That mask is replaced: "
        "only %s is kept now.",
        keep,
    )
    return {**latent, "noise_mask": nest(masks)}


def _masks_of(latent: dict[str, Any]) -> Streams[Tensor]:
    """The noise masks of a LATENT; a mask that is not nested belongs to the video."""
    mask: Any = latent.get("noise_mask")
    return Streams(*mask.unbind()) if getattr(mask, "is_nested", False) else Streams(mask)


def _also_kept(mask: Tensor, earlier: Tensor | None) -> Tensor:
    """``mask``, which also keeps everything that the ``earlier`` one keeps."""
    if earlier is None:
        return mask
    shape = (earlier.shape[0], 1, *mask.shape[2:])
    return torch.minimum(mask, comfy.utils.reshape_mask(earlier.float(), shape)[:, :1])


def latent_mask(latent: Tensor, regenerated: Tensor) -> Tensor:
    """The host's mask [1, 1, ...] of a latent from flags per latent frame [n]."""
    axis = time_axis(latent)
    mask = expand_over_latent(regenerated[None], latent.movedim(axis, 2)).movedim(2, axis)
    return mask.expand(1, 1, *latent.shape[2:]).contiguous()


def _same(encoded: Tensor, wanted: Tensor, what: str) -> Tensor:
    """``encoded`` expanded to the batch of ``wanted``; a difference of one latent frame at the end is repaired."""
    axis = time_axis(wanted)
    gap = wanted.shape[axis] - encoded.shape[axis]
    if abs(gap) == 1:
        length = encoded.shape[axis]
        last = encoded.narrow(axis, length - 1, 1)
        encoded = torch.cat([encoded, last], dim=axis) if gap > 0 else encoded.narrow(axis, 0, length - 1)
    if encoded.shape[1:] != wanted.shape[1:]:
        raise ValueError(
            f"The encoded {what} have the shape {tuple(encoded.shape[1:])}; the latent needs {tuple(wanted.shape[1:])}. Use the "
            "VAE of the model that the latent is for, and a latent with the duration of the footage."
        )
    return encoded.to(wanted).expand_as(wanted).clone()


def notice(found: list[str], warnings: list[str], *, skip_check: bool) -> str:
    """A summary of the footage, with its domain warnings.

    Raises:
        ValueError: the footage is outside the domain of the pocket model, and ``skip_check`` is off.
    """
    warning = " ".join(text for text in warnings if text)
    if warning and not skip_check:
        raise ValueError(f"{warning} {OUT_OF_DOMAIN_ADVICE}")
    return f"Encoded: {', '.join(found)}. Use 'Duet Freeze Stream' to keep it. {warning}".strip()
