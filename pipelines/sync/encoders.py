"""Scores over somebody's encoder of pictures, sounds and words: JavisScore, AVHScore, CAVP-Sim and the three similarities.

The encoder is the user's: a folder that ``transformers`` reads (CLAP, CLIP), or embeddings that were made elsewhere and are named
after what made them. A score has its published name only where the encoder is the one it was published with.

Letters: f and g frames, d channels of an embedding, w windows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..core.streams import Clip
from ..core.weights import read_tensors

IMAGEBIND, CAVP, CLAP, CLIP = "imagebind_huge", "cavp", "clap-htsat-unfused", "clip-vit-base-patch32"
WINDOW, STEP, LOWEST = 2.0, 0.5, 0.4  # seconds of JavisScore's windows, between them, and share of frames that counts
CLAP_RATE, CLIP_FRAMES = 48_000, 48


@dataclass(frozen=True)
class Embedded:
    """One clip as an encoder sees it; what it does not read is None."""

    frames: Float[Tensor, "f d"] | None = None
    video: Float[Tensor, " d"] | None = None
    audio: Float[Tensor, " d"] | None = None
    audio_windows: Float[Tensor, "w d"] | None = None  # of JavisScore's windows
    audio_frames: Float[Tensor, "g d"] | None = None  # frame by frame, of encoders that are aligned so
    text: Float[Tensor, " d"] | None = None
    fps: float = 0.0


@runtime_checkable
class Encoder(Protocol):
    """What gives embeddings of clips."""

    @property
    def name(self) -> str:
        """What it is called where scores over it were published."""
        ...

    def embed(self, clip: str, load: Callable[[], Clip], text: str) -> Embedded:
        """Of the clip called ``clip``; ``load`` decodes it if the encoder wants to see it."""
        ...


def similarity(a: Float[Tensor, " d"], b: Float[Tensor, " d"]) -> float:
    """Cosine."""
    return float(F.cosine_similarity(a.float(), b.float(), dim=0))


def avh_score(e: Embedded) -> float | None:
    """Mean cosine of every frame with the whole sound (Mao et al., TAVGBench, 2024)."""
    if e.frames is None or e.audio is None:
        return None
    return float(F.cosine_similarity(e.frames.float(), e.audio.float()[None], dim=1).mean())


def javis_score(e: Embedded) -> float | None:
    """Mean over windows of the mean of the lowest two fifths of the cosines of a window's frames with its sound (Liu et al.,
    JavisDiT, 2025): windows of 2 s, every half second."""
    if e.frames is None or e.audio_windows is None or not e.fps:
        return None
    scores = []
    windows = picture_windows(len(e.frames), fps=e.fps, window=WINDOW, step=STEP)
    for (start, end), sound in zip(windows, e.audio_windows, strict=False):
        cosines = F.cosine_similarity(e.frames[start:end].float(), sound.float()[None], dim=1)
        scores.append(float(cosines.sort().values[: max(1, int(LOWEST * len(cosines)))].mean()))
    return sum(scores) / len(scores)


def picture_windows(frames: int, *, fps: float, window: float, step: float) -> list[tuple[int, int]]:
    """Frames of each window, [start, end); the last one ends with the clip, and a shorter clip is one window."""
    length, each = int(window * fps), max(1, int(step * fps))
    if frames <= length:
        return [(0, frames)]
    starts = [*range(0, frames - length, each), frames - length]
    return [(start, start + length) for start in starts]


def cavp_similarity(e: Embedded) -> float | None:
    """Mean cosine frame by frame of embeddings that were trained to agree (Luo et al., Diff-Foley, 2023)."""
    if e.frames is None or e.audio_frames is None:
        return None
    count = min(len(e.frames), len(e.audio_frames))
    return float(F.cosine_similarity(e.frames[:count].float(), e.audio_frames[:count].float(), dim=1).mean())


def _pair(a: str, b: str) -> Callable[[Embedded], float | None]:
    def score(e: Embedded) -> float | None:
        first, second = getattr(e, a), getattr(e, b)
        return None if first is None or second is None else similarity(first, second)

    return score


# Aggregator -> encoder it was published with -> the name it has there.
AGGREGATORS: Mapping[str, tuple[Callable[[Embedded], float | None], Mapping[str, str]]] = {
    "javis": (javis_score, {IMAGEBIND: "JavisScore"}),
    "avh": (avh_score, {IMAGEBIND: "AVHScore"}),
    "frame-wise": (cavp_similarity, {CAVP: "CAVP-Sim"}),
    "video-audio": (_pair("video", "audio"), {IMAGEBIND: "IB-AV"}),
    "text-video": (_pair("text", "video"), {IMAGEBIND: "IB-TV", CLIP: "CLIPScore"}),
    "text-audio": (_pair("text", "audio"), {IMAGEBIND: "IB-TA", CLAP: "CLAPScore"}),
}


def aggregated(encoder: str, e: Embedded) -> dict[str, float]:
    """Every score that ``e`` allows; under its published name with the encoder it belongs to, else with the encoder's own."""
    found = {}
    for name, (score, published) in AGGREGATORS.items():
        value = score(e)
        if value is not None:
            found[published.get(encoder, f"{name} ({encoder})")] = value
    return found


PARTS = ("frames", "video", "audio", "audio_windows", "audio_frames", "text")


@dataclass(frozen=True)
class EmbeddingFile:
    """Embeddings that were made elsewhere: safetensors whose metadata names the 'encoder', with tensors 'CLIP/part'."""

    name: str
    tensors: dict[str, Tensor]
    fps: float

    @classmethod
    def read(cls, path: Path) -> EmbeddingFile:
        """Embeddings from ``path``.

        Raises:
            ValueError: not such a file.
        """
        tensors, about = read_tensors(path)
        strange = [name for name in tensors if name.rpartition("/")[2] not in PARTS or "/" not in name]
        if "encoder" not in about or strange:
            raise ValueError(
                f"{path} is no file of embeddings: its metadata must name the 'encoder' (and 'fps' of its frames), and its tensors are "
                f"CLIP/{{{', '.join(PARTS)}}}" + (f", not {strange[0]!r}." if strange else ".")
            )
        try:
            return cls(about["encoder"], tensors, float(about.get("fps", 0)))
        except ValueError as error:
            raise ValueError(f"{path}: 'fps' in its metadata is {about['fps']!r}, which is no number.") from error

    def embed(self, clip: str, load: Callable[[], Clip], text: str) -> Embedded:
        own = {part: self.tensors[f"{clip}/{part}"] for part in PARTS if f"{clip}/{part}" in self.tensors}
        return Embedded(**own, fps=self.fps)


class ClapEncoder:
    """Sounds and words by the user's CLAP, a folder as ``transformers`` saves it."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

        self.name = _name(folder, "clap")
        self.model: Any = ClapModel.from_pretrained(folder, local_files_only=True).eval()
        self.hear: Any = ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
        self.read: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    @torch.inference_mode()
    def embed(self, clip: str, load: Callable[[], Clip], text: str) -> Embedded:
        from ..media.sound import resample

        seen = load()
        mono = resample(seen.waveform, rate=seen.sample_rate, to=CLAP_RATE).mean(0)
        sound = self.hear(mono.numpy(), sampling_rate=CLAP_RATE, return_tensors="pt")
        words = self.read([text], return_tensors="pt", padding=True, truncation=True)
        return Embedded(
            audio=_pooled(self.model.get_audio_features(**sound)), text=_pooled(self.model.get_text_features(**words))
        )


class ClipEncoder:
    """Pictures and words by the user's CLIP, a folder as ``transformers`` saves it; a clip is the mean over 48 frames."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel, CLIPProcessor

        self.name = _name(folder, "clip")
        self.model: Any = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
        self.processor: Any = CLIPProcessor.from_pretrained(folder, local_files_only=True)

    @torch.inference_mode()
    def embed(self, clip: str, load: Callable[[], Clip], text: str) -> Embedded:
        frames = load().frames
        picks = torch.linspace(0, len(frames) - 1, min(CLIP_FRAMES, len(frames))).round().long()
        pictures = [(frame * 255).round().byte().numpy() for frame in frames[picks]]
        seen = _each(self.model.get_image_features(**self.processor(images=pictures, return_tensors="pt")))
        words = self.processor(text=[text], return_tensors="pt", padding=True, truncation=True)
        seen = F.normalize(seen, dim=-1)
        return Embedded(frames=seen, video=seen.mean(0), text=_pooled(self.model.get_text_features(**words)))


def _each(found: Any) -> Tensor:
    """Features as transformers 4 (a tensor) and 5 (an output) give them."""
    return found if isinstance(found, Tensor) else found.pooler_output


def _pooled(found: Any) -> Tensor:
    return _each(found)[0]


def _name(folder: Path, kind: str) -> str:
    """What a folder's model calls itself.

    Raises:
        ValueError: the folder holds no such model.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if config.get("model_type") != kind:
        raise ValueError(f"{folder} holds no {kind.upper()}: its config.json must be of model_type {kind!r}.")
    return Path(config.get("_name_or_path") or folder.name).name
