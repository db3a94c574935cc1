"""Footage as what a clip of the pocket model keeps."""

from __future__ import annotations

import torch

from ...core.keep import FIRST, KeepMask, regenerated_frames
from ...core.sizes import VIDEO_STRIDE, ClipShape
from ...core.streams import Streams
from ...media.footage import Footage
from ...media.sound import fit_sound, resample
from .domain import OUT_OF_DOMAIN_ADVICE, picture_out_of_domain, sound_out_of_domain
from .generate import latent_sizes
from .load import PocketModel


@torch.inference_mode()
def encode_footage(
    model: PocketModel, footage: Footage, shape: ClipShape, count: int, *, anyway: bool = False
) -> KeepMask:
    """What ``count`` clips begin with.

    Raises:
        ValueError: the footage is not of the pocket world, and ``anyway`` is not set.
    """
    sizes = latent_sizes(model.network.config, shape)
    latents, strange = sizes.map(lambda size: torch.zeros(1, *size)), ""
    if footage.frames is not None:
        frames = footage.frames.permute(0, 3, 1, 2)
        strange = picture_out_of_domain(frames)
        if footage.keep == FIRST:
            first = model.video_codec.encode(frames.expand(VIDEO_STRIDE[0], -1, -1, -1)[None])
            latents.both()[0][:, :, :1] = first
        else:
            latents = Streams(model.video_codec.encode(frames[None]), latents.audio)
    elif footage.waveform is not None:
        sound = resample(footage.waveform, rate=footage.sample_rate, to=shape.sample_rate)
        sound = fit_sound(sound, seconds=shape.duration, sample_rate=shape.sample_rate)
        strange = sound_out_of_domain(model.audio_codec, sound)
        latents = Streams(latents.video, model.audio_codec.encode(sound[None]))
    if strange and not anyway:
        raise ValueError(f"{strange} {OUT_OF_DOMAIN_ADVICE}")
    regenerate = regenerated_frames(footage.keep, latents.map(lambda z: z.shape[2]), seconds=shape.duration)
    return KeepMask(latents.map(lambda z: z.expand(count, *z.shape[1:])), regenerate.map(lambda r: r.expand(count, -1)))
