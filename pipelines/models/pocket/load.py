"""The pocket model's weights files, and the loading of its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.weights import WEIGHTS, load_module
from ..backbone import Backbone
from .audio_codec import AudioCodec
from .codecs import FrameCodec, SoundCodec
from .network import PocketConfig, TwinStreamDiT
from .text import TextEncoder
from .video_codec import VideoCodec


@dataclass(frozen=True)
class Part:
    """One weights file of the pocket model: its title and contents as its card states them, and the condition that it serves."""

    title: str
    contents: str
    condition: str = ""  # 'plan', 'prior', 'adapter' or 'timed'; empty for the base
    stem: str = ""  # stem of the file name, if it differs from the kind

    def path(self, kind: str) -> Path:
        """Where the file of ``kind`` ships."""
        return WEIGHTS / f"{self.stem or kind}.safetensors"


PARTS = {
    "pocket-av": Part(
        "Pocket network",
        "Twin-stream rectified flow with cross-modal context attention (CCL, our reconstruction).",
    ),
    "pocket-text": Part(
        "Pocket text encoder",
        "A small T5 encoder over a closed vocabulary, trained together with the network.",
    ),
    "video-codec": Part(
        "Pocket video codec",
        "Principal components of 4 x 8 x 8 pixel cells; a learnt decoder adds what they leave out.",
        stem="pocket-video-codec",
    ),
    "audio-codec": Part(
        "Pocket audio codec",
        "Principal components of stereo log-mel blocks; a learnt vocoder with Griffin-Lim reconstructs the waveform.",
        stem="pocket-audio-codec",
    ),
    "pocket-plan": Part(
        "Plan layers of the pocket network",
        "Cross-attention with Relative Semantic RoPE (Baton, our reconstruction); fits the base whose hash it names.",
        "plan",
    ),
    "pocket-planner": Part(
        "Pocket VA-Planner",
        "A small Qwen3 that writes timelines, and the towers that turn them into planned tokens (Baton, our reconstruction).",
        "plan",
    ),
    "pocket-prior": Part(
        "Pocket prior (HiST-Sypo)",
        "An estimator with JavisDiT's architecture and the pocket vocabulary, encoders of real clips, and readers of their tokens (our "
        "reconstruction; the training losses are ours).",
        "prior",
    ),
    "pocket-prior-layers": Part(
        "Prior layers of the pocket network",
        "Spatial and temporal prior attention (JavisDiT, our reconstruction); fits the base whose hash it names.",
        "prior",
    ),
    "pocket-adapter": Part(
        "Pocket masked adapter",
        "Projections, masks and predictors of what video and audio share (SAVA's first stage, our reconstruction).",
        "adapter",
    ),
    "pocket-adapter-v2a": Part(
        "Adapter layers of the pocket network: audio from video",
        "phi, and LoRA on the conditioning layers of the audio stream under the names of ComfyUI's LoRA files (SAVA's second stage, our "
        "reconstruction; distilled from the base's own route); fits the base and the adapter whose hashes it names.",
        "adapter",
    ),
    "pocket-adapter-a2v": Part(
        "Adapter layers of the pocket network: video from audio",
        "The same layers for the video stream.",
        "adapter",
    ),
    "pocket-timed": Part(
        "Timed text of the pocket network",
        "LoRA on the text attention of both streams, trained with texts that hold at certain times (ours), under the names of ComfyUI's "
        "LoRA files; fits the base whose hash it names.",
        "timed",
    ),
}  # kind -> file; all lists of the pocket model's files are derived from this table
FILES = {kind: part.path(kind) for kind, part in PARTS.items() if not part.condition}  # the base
ADD_ONS = {kind: part.path(kind) for kind, part in PARTS.items() if part.condition}
CONDITION_FILES = {
    condition: tuple(kind for kind, part in PARTS.items() if part.condition == condition)
    for condition in ("plan", "prior", "adapter", "timed")
}  # condition -> the kinds of file that it needs in addition to the base
# Input of the loader node -> kind of file.
KINDS = {
    "model": "pocket-av",
    "text_encoder": "pocket-text",
    "video_codec": "video-codec",
    "audio_codec": "audio-codec",
}
NAME = "the Duet pocket model"
LICENCE = "Apache-2.0"


def load_network(path: Path = FILES["pocket-av"]) -> TwinStreamDiT:
    """The twin-stream network."""
    return load_module(path, "pocket-av", TwinStreamDiT, PocketConfig)


def load_text_encoder(path: Path = FILES["pocket-text"]) -> TextEncoder:
    """The word-level T5 encoder."""
    return load_module(path, "pocket-text", TextEncoder)


def load_video_codec(path: Path = FILES["video-codec"]) -> VideoCodec:
    """The video codec."""
    return load_module(path, "video-codec", VideoCodec)


def load_audio_codec(path: Path = FILES["audio-codec"]) -> AudioCodec:
    """The audio codec."""
    return load_module(path, "audio-codec", AudioCodec)


@dataclass(frozen=True)
class PocketModel:
    """A model of the pocket world: network, text encoder and codecs. ``files`` are the weights files of its parts by their kinds."""

    network: Backbone
    text: TextEncoder
    video_codec: FrameCodec
    audio_codec: SoundCodec
    name: str = NAME
    files: Mapping[str, Path] = field(default_factory=lambda: FILES)

    @property
    def codecs(self) -> tuple[FrameCodec, SoundCodec]:
        return self.video_codec, self.audio_codec

    @classmethod
    def load(cls) -> PocketModel:
        """The pocket network with its parts, from the weights that ship with the pack.

        Raises:
            ValueError: a file is missing or damaged, or the files do not belong together.
        """
        network, text, video, audio = load_network(), load_text_encoder(), load_video_codec(), load_audio_codec()
        sizes = network.config
        for what, found, wanted in (
            ("text encoder", text.config["dim"], sizes.text_dim),
            ("video codec", video.channels, sizes.video_channels),
            ("audio codec", audio.channels, sizes.audio_channels),
        ):
            if found != wanted:
                raise ValueError(
                    f"{FILES['pocket-av'].parent}: the {what} has {found} channels and the network expects {wanted}. Restore the folder."
                )
        return cls(network, text, video, audio)
