"""The pocket model's parts, from their weights files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import nn

from ...core.weights import WEIGHTS, WeightsFile, fill, load_weights
from .audio_codec import AudioCodec
from .network import PocketConfig, TwinStreamDiT
from .text import TextEncoder
from .video_codec import VideoCodec

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")
FILES = {
    "pocket-av": WEIGHTS / "pocket-av.safetensors",
    "pocket-text": WEIGHTS / "pocket-text.safetensors",
    "video-codec": WEIGHTS / "pocket-video-codec.safetensors",
    "audio-codec": WEIGHTS / "pocket-audio-codec.safetensors",
}
# What can be put on the base, or beside it.
ADD_ONS = {
    "pocket-plan": WEIGHTS / "pocket-plan.safetensors",
    "pocket-planner": WEIGHTS / "pocket-planner.safetensors",
    "pocket-prior": WEIGHTS / "pocket-prior.safetensors",
    "pocket-prior-layers": WEIGHTS / "pocket-prior-layers.safetensors",
    "pocket-adapter": WEIGHTS / "pocket-adapter.safetensors",
    "pocket-adapter-v2a": WEIGHTS / "pocket-adapter-v2a.safetensors",
    "pocket-adapter-a2v": WEIGHTS / "pocket-adapter-a2v.safetensors",
}
# The files that each condition needs beside the base.
ADD_ON_PARTS = {
    "plan": ("pocket-plan", "pocket-planner"),
    "prior": ("pocket-prior", "pocket-prior-layers"),
    "adapter": ("pocket-adapter", "pocket-adapter-v2a", "pocket-adapter-a2v"),
}
# The kind of file behind each input of the loader.
KINDS = {
    "model": "pocket-av",
    "text_encoder": "pocket-text",
    "video_codec": "video-codec",
    "audio_codec": "audio-codec",
}
NAME = "the Duet pocket model"
LICENCE = "Apache-2.0"


def configured(make: Callable[..., T], file: WeightsFile) -> T:
    """What ``file``'s configuration describes.

    Raises:
        ValueError: an entry is missing or unknown.
    """
    try:
        return make(**file.config)
    except TypeError as error:
        raise ValueError(
            f"The '{file.kind}' file's configuration does not fit this version of Duet: {error}."
        ) from error


def _load(path: Path, kind: str, make: Callable[..., M]) -> M:
    file = load_weights(path, kind)
    return fill(configured(make, file), file.tensors, source=path)


def load_network(path: Path = FILES["pocket-av"]) -> TwinStreamDiT:
    """The twin-stream network."""
    return _load(path, "pocket-av", lambda **config: TwinStreamDiT(PocketConfig(**config)))


def load_text_encoder(path: Path = FILES["pocket-text"]) -> TextEncoder:
    """The word-level T5 encoder."""
    return _load(path, "pocket-text", TextEncoder)


def load_video_codec(path: Path = FILES["video-codec"]) -> VideoCodec:
    """The linear video codec."""
    return _load(path, "video-codec", VideoCodec)


def load_audio_codec(path: Path = FILES["audio-codec"]) -> AudioCodec:
    """The linear log-mel codec with Griffin-Lim."""
    return _load(path, "audio-codec", AudioCodec)


@dataclass(frozen=True)
class PocketModel:
    """Network, text encoder and codecs that were trained together."""

    network: TwinStreamDiT
    text: TextEncoder
    video_codec: VideoCodec
    audio_codec: AudioCodec

    @property
    def codecs(self) -> tuple[VideoCodec, AudioCodec]:
        return self.video_codec, self.audio_codec

    @classmethod
    def load(cls) -> PocketModel:
        """The weights that ship with the pack."""
        return cls(load_network(), load_text_encoder(), load_video_codec(), load_audio_codec())
