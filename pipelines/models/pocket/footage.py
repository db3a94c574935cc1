"""Footage encoded for the pocket model as the part of a clip that is kept."""

from __future__ import annotations

import torch

from ...core.keep import FIRST, KeepMask, regenerated_frames
from ...core.sizes import VIDEO_STRIDE, ClipShape
from ...core.streams import Streams
from ...media.footage import Footage
from ...media.sound import fit_sound, resample
from .domain import OUT_OF_DOMAIN_ADVICE, audio_domain_problem, video_domain_problem
from .load import PocketModel


@torch.inference_mode()
def encode_footage(
    model: PocketModel, footage: Footage, shape: ClipShape, count: int, *, skip_check: bool = False
) -> KeepMask:
    """The latents of ``footage`` and the mask of latent frames to regenerate, for ``count`` clips.

    Raises:
        ValueError: the footage does not look or sound like the pocket world, and ``skip_check`` is not set.
    """
    sizes = model.network.latent_sizes(shape)
    latents, problem = sizes.map(lambda size: torch.zeros(1, *size)), ""
    if footage.frames is not None:
        frames = footage.frames.permute(0, 3, 1, 2)
        problem = video_domain_problem(frames)
        if footage.keep == FIRST:
            first = model.video_codec.encode(frames.expand(VIDEO_STRIDE[0], -1, -1, -1)[None])
            latents.both()[0][:, :, :1] = first
        else:
            latents = Streams(model.video_codec.encode(frames[None]), latents.audio)
    elif footage.waveform is not None:
        sound = resample(footage.waveform, rate=footage.sample_rate, to=shape.sample_rate)
        sound = fit_sound(sound, seconds=shape.duration, sample_rate=shape.sample_rate)
        problem = audio_domain_problem(model.audio_codec.base, sound)
        latents = Streams(latents.video, model.audio_codec.encode(sound[None]))
    if problem and not skip_check:
        raise ValueError(f"{problem} {OUT_OF_DOMAIN_ADVICE}")
    regenerate = regenerated_frames(footage.keep, latents.map(lambda z: z.shape[2]), seconds=shape.duration)
    return KeepMask(latents.map(lambda z: z.expand(count, *z.shape[1:])), regenerate.map(lambda r: r.expand(count, -1)))
