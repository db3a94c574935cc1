"""Pocket LTX-2 without its network: sizes, weights file, and codecs. Needs no diffusers, so that ComfyUI can use it.

The pocket latents are divided by their channels' deviations, and 2 x 2 video cells become the channels of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ...core.schema import Between, Depth, Fps, Heads, SampleRate, Width, check_heads
from ...core.sizes import MEL_HOP, MEL_STRIDE, VIDEO_STRIDE, ClipShape
from ...core.streams import Streams
from ...core.weights import WEIGHTS, WeightsFile, load_weights
from ..pocket.audio_codec import AudioCodec
from ..pocket.codecs import FrameCodec, SoundCodec
from .sizes import AudioClock, LTX2Sizes

Scale = tuple[Annotated[float, Between(1e-6, 1e6)], ...]
KIND = "pocket-ltx2"
NAME = "the Duet pocket LTX-2"
FILE = WEIGHTS / "pocket-ltx2.safetensors"
CONTEXT_KIND = "pocket-ltx2-context"
CONTEXT_FILE = WEIGHTS / "pocket-ltx2-context.safetensors"
PLAN_KIND = "pocket-ltx2-plan"
PLAN_FILE = WEIGHTS / "pocket-ltx2-plan.safetensors"
TIMED_KIND = "pocket-ltx2-timed"
TIMED_FILE = WEIGHTS / "pocket-ltx2-timed.safetensors"
PATCH = 2  # rows and columns of pocket latent cells in one cell of the network
STRIDE = (VIDEO_STRIDE[0], VIDEO_STRIDE[1] * PATCH, VIDEO_STRIDE[2] * PATCH)  # frames, rows, columns behind such a cell
SECONDS = 4.0  # rotary positions of the time axis run from -1 to 1 over this many seconds


@dataclass(frozen=True)
class PocketLTX2Config:
    """Sizes of the network and the clock it was trained on; stored in the weights file. Channels are those of the pocket codecs."""

    dim: Width = 192
    depth: Depth = 4
    heads: Heads = 6
    text_dim: Width = 128
    video_channels: Width = 16
    audio_channels: Width = 24
    fps: Fps = 16
    sample_rate: SampleRate = 16_000
    video_scale: Scale = field(default=())  # deviation of each latent channel
    audio_scale: Scale = field(default=())

    def __post_init__(self) -> None:
        check_heads(self.dim, self.heads)

    @property
    def clock(self) -> str:
        """The unit of rotary positions in time, as ``PocketConfig`` states it."""
        return "seconds"

    @property
    def folded_channels(self) -> int:
        """Channels of the video latents that the network reads."""
        return self.video_channels * PATCH**2

    def latent_sizes(self, shape: ClipShape) -> Streams[tuple[int, ...]]:
        """Channels and size of both latents of one clip: video [c, t, h, w], audio [c, t]."""
        frames, rows, columns = shape.video_latent
        video = (self.folded_channels, frames, rows // PATCH, columns // PATCH)
        return Streams(video, (self.audio_channels, shape.audio_latent))

    def sizes(self) -> LTX2Sizes:
        """The same sizes as the official configuration states them."""
        shape, head = ClipShape(), self.dim // self.heads
        stream = {"num_attention_heads": self.heads, "attention_head_dim": head, "cross_attention_dim": self.dim}
        official = {
            **stream,
            **{f"audio_{name}": value for name, value in stream.items()},
            **dict.fromkeys(("in_channels", "out_channels"), self.folded_channels),
            **dict.fromkeys(("audio_in_channels", "audio_out_channels"), self.audio_channels),
            "caption_channels": self.text_dim,
            "num_layers": self.depth,
            "positional_embedding_max_pos": [SECONDS, shape.height, shape.width],
            "audio_positional_embedding_max_pos": [SECONDS],
            "vae_scale_factors": list(STRIDE),
            "use_middle_indices_grid": True,
            "causal_temporal_positioning": False,
            "av_ca_timestep_scale_multiplier": 1000.0,
            "rope_type": "split",
            "frequencies_precision": "float64",
        }
        return LTX2Sizes(official, AudioClock(self.sample_rate, MEL_HOP, MEL_STRIDE, causal=False))


def read_file(path: Path = FILE, kind: str = KIND) -> WeightsFile:
    """The weights file of pocket LTX-2, or of another ``kind`` that belongs to it.

    Raises:
        ValueError: it does not exist, or is another kind of file.
    """
    if not path.is_file():
        raise ValueError(
            f"{path} does not exist: the weights of {kind} are not installed. "
            + ("They do not ship; train " if kind == CONTEXT_KIND else "Restore the pack's 'weights' folder, or train ")
            + f"them in the pack's folder: duet train {kind} --weights weights"
        )
    return load_weights(path, kind)


def reads_times(base: str) -> bool:
    """Whether the LoRA for timed text that ships was trained on the pocket LTX-2 with hash ``base``."""
    return TIMED_FILE.is_file() and load_weights(TIMED_FILE, TIMED_KIND).config.get("base") == base


def require_diffusers() -> None:
    """Check that the package that holds LTX-2's network outside ComfyUI is installed.

    Raises:
        ValueError: it is not.
    """
    if find_spec("diffusers") is None:
        raise ValueError(
            "Pocket LTX-2 outside ComfyUI needs the package diffusers, which the extra [ltx2] installs. In the pack's folder, run: "
            'pip install -e ".[ltx2]"'
        )


def fold(video: Tensor) -> Tensor:
    """[b, c, t, h, w] -> [b, c * 4, t, h / 2, w / 2]."""
    return rearrange(video, "b c t (h p) (w q) -> b (c p q) t h w", p=PATCH, q=PATCH)


def unfold(video: Tensor) -> Tensor:
    """The inverse of ``fold``."""
    return rearrange(video, "b (c p q) t h w -> b c t (h p) (w q)", p=PATCH, q=PATCH)


class _Scaled(nn.Module):
    """A factor for each channel of a codec's latents."""

    scale: Tensor

    def __init__(self, scale: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))

    def factors(self, z: Tensor) -> Tensor:
        """The factors in a shape that broadcasts over latents [b, c, ...]."""
        return self.scale.view(-1, *[1] * (z.ndim - 2))


class FoldedVideoCodec(_Scaled):
    """A pocket video codec whose latents are divided by ``scale``, with 2 x 2 cells folded into the channels of one."""

    stride = STRIDE

    def __init__(self, codec: FrameCodec, scale: tuple[float, ...]) -> None:
        super().__init__(scale)
        self.codec = codec
        self.channels = codec.channels * PATCH**2

    def encode(self, frames: Tensor) -> Tensor:
        """Frames [b, t, 3, h, w] in 0..1 as latents [b, c, t / 4, h / 16, w / 16]."""
        z = self.codec.encode(frames)
        return fold(z / self.factors(z))

    def decode(self, latent: Tensor) -> Tensor:
        """The inverse of ``encode``."""
        z = unfold(latent)
        return self.codec.decode(z * self.factors(z))


class ScaledAudioCodec(_Scaled):
    """A pocket audio codec whose latents are divided by ``scale``."""

    def __init__(self, codec: SoundCodec, scale: tuple[float, ...]) -> None:
        super().__init__(scale)
        self.codec = codec
        self.channels, self.sample_rate = codec.channels, codec.sample_rate

    def encode(self, waveform: Tensor) -> Tensor:
        """Waveforms [b, 2, samples] as latents [b, c, t]."""
        z = self.codec.encode(waveform)
        return z / self.factors(z)

    def decode(self, latent: Tensor, **options: Any) -> Tensor:
        """The inverse of ``encode``."""
        return self.codec.decode(latent * self.factors(latent), **options)

    @property
    def base(self) -> AudioCodec:
        """The pocket codec behind it."""
        return self.codec.base


def scaled_codecs(
    config: PocketLTX2Config, video: FrameCodec, audio: SoundCodec
) -> tuple[FoldedVideoCodec, ScaledAudioCodec]:
    """The pocket codecs in the layout of the network's latents."""
    return FoldedVideoCodec(video, config.video_scale), ScaledAudioCodec(audio, config.audio_scale)
