"""Scores from embeddings of video, audio and text: JavisScore, AVHScore, CAVP-Sim and cosine similarities between two of them.

The user supplies the encoder: a folder that ``transformers`` can load (CLAP, CLIP), or a file of precomputed embeddings that names
its encoder. A score is reported under its published name only with the encoder it was published with.

Letters: f and g frames, d channels of an embedding, w windows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..core.pretrained import load_part
from ..core.streams import Clip
from ..core.weights import read_tensors

IMAGEBIND, CAVP, CLAP, CLIP = "imagebind_huge", "cavp", "clap-htsat-unfused", "clip-vit-base-patch32"
WINDOW, STEP, LOWEST = 2.0, 0.5, 0.4  # JavisScore: seconds of a window and between windows, share of the lowest cosines
PARTS = (
    "frames",
    "video",
    "audio",
    "audio_windows",
    "audio_frames",
    "text",
)  # fields of ``Embedded`` that a file may hold
VECTORS = ("video", "audio", "text")  # parts with one embedding per clip
CLAP_RATE, CLIP_FRAMES, MAX_FPS = 48_000, 48, 1000


@dataclass(frozen=True)
class Embedded:
    """Embeddings of one clip; None for those that the encoder does not provide."""

    frames: Float[Tensor, "f d"] | None = None
    video: Float[Tensor, " d"] | None = None
    audio: Float[Tensor, " d"] | None = None
    audio_windows: Float[Tensor, "w d"] | None = None  # one for each of JavisScore's windows
    audio_frames: Float[Tensor, "g d"] | None = None  # one per video frame, from encoders with time-aligned embeddings
    text: Float[Tensor, " d"] | None = None
    fps: float = 0.0


@runtime_checkable
class Encoder(Protocol):
    """Anything that provides embeddings of clips."""

    @property
    def name(self) -> str:
        """The encoder's published name."""
        ...

    def embed(self, clip: str, load: Callable[[], Clip], text: str) -> Embedded:
        """Embeddings of the clip named ``clip`` and its prompt ``text``. ``load`` decodes the clip if the encoder needs it."""
        ...


def similarity(a: Float[Tensor, " d"], b: Float[Tensor, " d"]) -> float:
    """Cosine similarity."""
    return float(F.cosine_similarity(a.float(), b.float(), dim=0))


def avh_score(e: Embedded) -> float | None:
    """Mean cosine similarity of each frame with the whole audio (Mao et al., TAVGBench, 2024)."""
    if e.frames is None or e.audio is None or not len(e.frames):
        return None
    return float(F.cosine_similarity(e.frames.float(), e.audio.float()[None], dim=1).mean())


def javis_score(e: Embedded) -> float | None:
    """Mean over windows of 2 s, every 0.5 s, of the mean of the lowest 40 % of the cosine similarities between the window's frames and
    its audio (Liu et al., JavisDiT, 2025)."""
    if e.frames is None or e.audio_windows is None or not e.fps or not len(e.frames) or not len(e.audio_windows):
        return None
    scores = []
    windows = frame_windows(len(e.frames), fps=e.fps, window=WINDOW, step=STEP)
    for (start, end), audio in zip(windows, e.audio_windows, strict=False):
        cosines = F.cosine_similarity(e.frames[start:end].float(), audio.float()[None], dim=1)
        scores.append(float(cosines.sort().values[: max(1, int(LOWEST * len(cosines)))].mean()))
    return sum(scores) / len(scores)


def frame_windows(frames: int, *, fps: float, window: float, step: float) -> list[tuple[int, int]]:
    """Frames of each window as [start, end). The last window ends with the clip; a clip shorter than ``window`` seconds is one window."""
    length, each = max(1, int(window * fps)), max(1, int(step * fps))
    if frames <= length:
        return [(0, frames)]
    starts = [*range(0, frames - length, each), frames - length]
    return [(start, start + length) for start in starts]


def cavp_similarity(e: Embedded) -> float | None:
    """Mean cosine similarity of time-aligned frame and audio embeddings (CAVP; Luo et al., Diff-Foley, 2023)."""
    if e.frames is None or e.audio_frames is None:
        return None
    count = min(len(e.frames), len(e.audio_frames))
    if not count:
        return None
    return float(F.cosine_similarity(e.frames[:count].float(), e.audio_frames[:count].float(), dim=1).mean())


def _pair(a: str, b: str) -> Callable[[Embedded], float | None]:
    def score(e: Embedded) -> float | None:
        first, second = getattr(e, a), getattr(e, b)
        return None if first is None or second is None else similarity(first, second)

    return score


# Name -> the score, and its published name for each encoder that it was published with.
AGGREGATORS: Mapping[str, tuple[Callable[[Embedded], float | None], Mapping[str, str]]] = {
    "javis": (javis_score, {IMAGEBIND: "JavisScore"}),
    "avh": (avh_score, {IMAGEBIND: "AVHScore"}),
    "frame-wise": (cavp_similarity, {CAVP: "CAVP-Sim"}),
    "video-audio": (_pair("video", "audio"), {IMAGEBIND: "IB-AV"}),
    "text-video": (_pair("text", "video"), {IMAGEBIND: "IB-TV", CLIP: "CLIPScore"}),
    "text-audio": (_pair("text", "audio"), {IMAGEBIND: "IB-TA", CLAP: "CLAPScore"}),
}


def aggregated(encoder: str, e: Embedded) -> dict[str, float]:
    """Every score that the embeddings ``e`` allow, under its published name if ``encoder`` has one, otherwise as 'score (encoder)'."""
    found = {}
    for name, (score, published) in AGGREGATORS.items():
        value = score(e)
        if value is not None:
            found[published.get(encoder, f"{name} ({encoder})")] = value
    return found


@dataclass(frozen=True)
class EmbeddingFile:
    """Precomputed embeddings: a safetensors file whose metadata names the 'encoder', with tensors named 'CLIP/part'."""

    name: str
    tensors: dict[str, Tensor]
    fps: float

    @classmethod
    def read(cls, path: Path) -> EmbeddingFile:
        """Embeddings from ``path``.

        Raises:
            ValueError: not a file of embeddings.
        """
        tensors, about = read_tensors(path)
        unexpected = [name for name in tensors if name.rpartition("/")[2] not in PARTS or "/" not in name]
        if "encoder" not in about or unexpected:
            raise ValueError(
                f"{path} is not a file of embeddings: its metadata must name the 'encoder' (and the 'fps' of its frames), and its tensors "
                f"must be named CLIP/{{{', '.join(PARTS)}}}" + (f", not {unexpected[0]!r}." if unexpected else ".")
            )
        _check_shapes(path, tensors)
        try:
            fps = float(about.get("fps", 0))
        except ValueError:
            fps = math.nan
        if not 0 <= fps <= MAX_FPS:
            raise ValueError(
                f"{path}: 'fps' in the metadata is {about['fps']!r}; it must be a number from 0 to {MAX_FPS}."
            )
        return cls(about["encoder"], tensors, fps)

    def embed(self, clip: str, load: Callable[[], Clip], text: str) -> Embedded:
        own = {part: self.tensors[f"{clip}/{part}"] for part in PARTS if f"{clip}/{part}" in self.tensors}
        return Embedded(**own, fps=self.fps)


def _check_shapes(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that every tensor has the dimensions of its part, that all have the same number of channels, and that values are finite.

    Raises:
        ValueError: a tensor does not.
    """
    channels = {value.shape[-1] for value in tensors.values() if value.ndim}
    for name, value in tensors.items():
        wanted = 1 if name.rpartition("/")[2] in VECTORS else 2
        if value.ndim != wanted:
            shape = "[channels]" if wanted == 1 else "[count, channels]"
            raise ValueError(
                f"{path}: {name} has shape {tuple(value.shape)}; it must be {shape}. Write the file again."
            )
        if not torch.isfinite(value).all():
            raise ValueError(f"{path}: {name} holds values that are not finite. Compute the embeddings again.")
    if len(channels) > 1:
        counts = ", ".join(map(str, sorted(channels)))
        raise ValueError(
            f"{path}: its embeddings have {counts} channels; all must have the same number, because they are compared."
        )


class ClapEncoder:
    """Audio and text embeddings of a CLAP model, from a folder in the format of ``transformers``."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

        self.name = _name(folder, "clap")
        self.model: Any = load_part(ClapModel, folder).eval()
        self.features: Any = load_part(ClapFeatureExtractor, folder)
        self.tokenizer: Any = load_part(AutoTokenizer, folder)

    @torch.inference_mode()
    def embed(self, clip: str, load: Callable[[], Clip], text: str) -> Embedded:
        from ..media.sound import resample

        decoded = load()
        mono = resample(decoded.waveform, rate=decoded.sample_rate, to=CLAP_RATE).mean(0)
        audio = self.features(mono.numpy(), sampling_rate=CLAP_RATE, return_tensors="pt")
        tokens = self.tokenizer([text], return_tensors="pt", padding=True, truncation=True)
        return Embedded(
            audio=_pooled(self.model.get_audio_features(**audio)), text=_pooled(self.model.get_text_features(**tokens))
        )


class ClipEncoder:
    """Frame and text embeddings of a CLIP model, from a folder in the format of ``transformers``. A video is the mean of 48 frames."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel, CLIPProcessor

        self.name = _name(folder, "clip")
        self.model: Any = load_part(CLIPModel, folder).eval()
        self.processor: Any = load_part(CLIPProcessor, folder)

    @torch.inference_mode()
    def embed(self, clip: str, load: Callable[[], Clip], text: str) -> Embedded:
        frames = load().frames
        picks = torch.linspace(0, len(frames) - 1, min(CLIP_FRAMES, len(frames))).round().long()
        images = [(frame * 255).round().byte().numpy() for frame in frames[picks]]
        found = _features(self.model.get_image_features(**self.processor(images=images, return_tensors="pt")))
        tokens = self.processor(text=[text], return_tensors="pt", padding=True, truncation=True)
        embedded = F.normalize(found, dim=-1)
        return Embedded(frames=embedded, video=embedded.mean(0), text=_pooled(self.model.get_text_features(**tokens)))


def _features(found: Any) -> Tensor:
    """Features as a tensor: transformers 4 returns a tensor, transformers 5 an output object."""
    return found if isinstance(found, Tensor) else found.pooler_output


def _pooled(found: Any) -> Tensor:
    return _features(found)[0]


def _name(folder: Path, kind: str) -> str:
    """Published name of the model in ``folder``.

    Raises:
        ValueError: the folder does not contain a model of this kind.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if config.get("model_type") != kind:
        raise ValueError(
            f"{folder} does not contain a {kind.upper()} model: the model_type in its config.json must be {kind!r}."
        )
    return Path(config.get("_name_or_path") or folder.name).name
