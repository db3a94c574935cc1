"""The dynamic temporal masks of JavisDiT v0.1's joint training: which latent frames of a clip are given clean, so that one network learns
generation, animation of images, extension, interpolation, video to audio and audio to video.

Names and shares are those of the official configuration (arXiv 2503.23377).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from ..core.streams import Streams

SHARES = {
    "none": 0.7,
    "random": 0.01,
    "video_to_audio": 0.05,
    "audio_to_video": 0.05,
    "image_with_audio": 0.03,
    "interpolate": 0.03,
    "quarter_random": 0.005,
    "quarter_head": 0.05,
    "quarter_tail": 0.005,
    "quarter_head_tail": 0.005,
    "image_random": 0.005,
    "image_head": 0.05,
    "image_tail": 0.005,
    "image_head_tail": 0.005,
}


def draw_masks(count: int, video: int, audio: int, generator: torch.Generator) -> Streams[Tensor]:
    """Masks [count, latent frames] of both streams for ``count`` clips, True at the frames that are noisy."""
    chosen = torch.multinomial(torch.tensor([*SHARES.values()]), count, replacement=True, generator=generator)
    rows = [noisy_frames(list(SHARES)[i], video, audio, generator) for i in chosen.tolist()]
    return Streams(*(torch.stack(masks) for masks in zip(*rows, strict=True)))


def noisy_frames(
    name: str, video: int, audio: int, generator: torch.Generator
) -> tuple[Bool[Tensor, " video"], Bool[Tensor, " audio"]]:
    """One mask of the kind ``name``: at least five latent frames of video, and the audio frames at the same times or all or none."""
    noisy = torch.ones(video, dtype=torch.bool)
    length = _whole(1, video // 4, generator) if name.startswith("quarter") else 1
    if "head" in name or name == "image_with_audio":
        noisy[:length] = False
    if "tail" in name:
        noisy[-length:] = False
    if name in ("quarter_random", "image_random"):
        first = _whole(0, video - length, generator)
        noisy[first : first + length] = False
    if name == "interpolate":
        noisy[_whole(0, 1, generator) :: 2] = False
    if name == "random":
        share = 0.1 + 0.8 * torch.rand(1, generator=generator)
        noisy = torch.rand(video, generator=generator) > share
        noisy[-1] |= not noisy.any()
    if name == "video_to_audio":
        noisy[:] = False
    if name in ("image_with_audio", "audio_to_video"):
        return noisy, torch.zeros(audio, dtype=torch.bool)
    if name.startswith("image") or name == "video_to_audio":
        return noisy, torch.ones(audio, dtype=torch.bool)
    return noisy, F.interpolate(noisy[None, None].float(), audio, mode="nearest")[0, 0] > 0


def _whole(low: int, high: int, generator: torch.Generator) -> int:
    """A random number in low..high."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))
