"""The pocket model's parts, from their weights files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...weights import WEIGHTS, WeightsFile, fill, load_weights
from .codec import AudioCodec, VideoCodec
from .network import PocketConfig, TwinStreamDiT
from .text import TextEncoder

FILES = {
    "pocket-av": WEIGHTS / "pocket-av.safetensors",
    "pocket-text": WEIGHTS / "pocket-text.safetensors",
    "video-codec": WEIGHTS / "pocket-video-codec.safetensors",
    "audio-codec": WEIGHTS / "pocket-audio-codec.safetensors",
}
LICENCE = "Apache-2.0"


def load_network(path: Path = FILES["pocket-av"]) -> TwinStreamDiT:
    """The twin-stream network."""
    file = load_weights(path, "pocket-av")
    return fill(TwinStreamDiT(network_config(file)), file.tensors, source=path)


def network_config(file: WeightsFile) -> PocketConfig:
    """The configuration in a 'pocket-av' file; a missing or unknown entry is an error."""
    try:
        return PocketConfig(**file.config)
    except TypeError as error:
        raise ValueError(f"The 'pocket-av' file's configuration does not fit this version of Duet: {error}.") from error


def load_text_encoder(path: Path = FILES["pocket-text"]) -> TextEncoder:
    """The word-level T5 encoder."""
    file = load_weights(path, "pocket-text")
    return fill(TextEncoder(**file.config), file.tensors, source=path)


def load_video_codec(path: Path = FILES["video-codec"]) -> VideoCodec:
    """The linear video codec."""
    file = load_weights(path, "video-codec")
    return fill(VideoCodec(**file.config), file.tensors, source=path)


def load_audio_codec(path: Path = FILES["audio-codec"]) -> AudioCodec:
    """The linear log-mel codec with Griffin-Lim."""
    file = load_weights(path, "audio-codec")
    return fill(AudioCodec(**file.config), file.tensors, source=path)


@dataclass(frozen=True)
class PocketModel:
    """Network, text encoder and codecs that were trained together."""

    network: TwinStreamDiT
    text: TextEncoder
    video_codec: VideoCodec
    audio_codec: AudioCodec

    @classmethod
    def load(cls) -> PocketModel:
        """The weights that ship with the pack."""
        return cls(load_network(), load_text_encoder(), load_video_codec(), load_audio_codec())
