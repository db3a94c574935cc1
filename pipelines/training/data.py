"""Training data: the world rendered, encoded once, and kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from ..bench.readings import render
from ..core.sizes import ClipShape, segments
from ..core.streams import Streams
from ..core.weights import save_tensors
from ..models.pocket.audio_codec import AudioCodec
from ..models.pocket.load import load_audio_codec, load_text_encoder, load_video_codec
from ..models.pocket.text import PAD, WordTokenizer
from ..models.pocket.video_codec import VideoCodec
from ..world import Scene, caption, make_scenes, render_picture, render_sound
from ..world.scene import MIX, Split

PARAPHRASES = 4
CHUNK = 32
RENDERED = 4096  # clips kept in memory for the video decoder and the video probe


def load_codecs() -> tuple[VideoCodec, AudioCodec]:
    """The shipped codecs of video and audio."""
    return load_video_codec(), load_audio_codec()


def chunks(items: Sequence[Scene], size: int = CHUNK) -> Iterator[Sequence[Scene]]:
    """Consecutive parts of ``items``, ``size`` long except the last."""
    return (items[i : i + size] for i in range(0, len(items), size))


@dataclass(frozen=True)
class RenderCache:
    """Scenes and their frames [n, t, 3, h, w] as bytes, kept in memory: rendering is slower than a training step."""

    scenes: list[Scene]
    frames_as_bytes: Tensor

    @classmethod
    def build(cls, *, seed: int, count: int, shape: ClipShape, split: Split) -> RenderCache:
        """``count`` scenes of list ``seed``."""
        scenes = make_scenes(seed, count, split=split)
        bars = tqdm(list(chunks(scenes)), desc="render", unit=f"x{CHUNK}")
        return cls(scenes, torch.cat([(render_picture(part, shape) * 255).round().byte() for part in bars]))

    def draw(self, size: int, generator: torch.Generator) -> tuple[list[Scene], Tensor]:
        """``size`` random scenes and their frames in 0..1."""
        pick = torch.randint(len(self.scenes), (size,), generator=generator)
        return [self.scenes[i] for i in pick.tolist()], self.frames_as_bytes[pick].float() / 255


@dataclass(frozen=True)
class CacheSpec:
    """Which scenes a cache holds (``count`` scenes of list ``seed``, each of ``seconds``) and the file it is stored in."""

    path: Path
    seed: int
    count: int
    mix: dict[str, float] = field(default_factory=lambda: dict(MIX))
    seconds: float = 2.0

    def scenes(self) -> list[Scene]:
        """The scenes, the same ones at each call."""
        return make_scenes(self.seed, self.count, mix=self.mix, seconds=self.seconds)


@dataclass(frozen=True)
class ClipEncoder:
    """The codecs and the tokenizer that encode rendered scenes as training tensors."""

    codecs: tuple[VideoCodec, AudioCodec]
    tokenizer: WordTokenizer

    def __call__(self, scenes: Sequence[Scene], frames: Tensor, waveform: Tensor) -> dict[str, Tensor]:
        """Latents in float16 and the token ids of every paraphrase of the captions."""
        return LatentCache.encode(scenes, frames, waveform, self.codecs, self.tokenizer)


def load_encoder() -> ClipEncoder:
    """The shipped codecs and tokenizer."""
    return ClipEncoder(load_codecs(), load_text_encoder().tokenizer)


@dataclass(frozen=True)
class LatentCache:
    """Encoded clips: video [n, c, t, h, w] and audio [n, c, t] in float16, and the token ids of their captions [n, paraphrases, m],
    where m is the length of the longest caption."""

    video: Tensor
    audio: Tensor
    tokens: Tensor

    @classmethod
    def build(cls, spec: CacheSpec, encoder: ClipEncoder) -> LatentCache:
        """Render and encode the scenes of ``spec``, or read them back from its file."""
        return cls.of(encoded(spec.path, spec.scenes(), encoder))

    @classmethod
    def read(cls, path: Path) -> LatentCache:
        """Clips encoded by ``duet data``.

        Raises:
            ValueError: not a file of encoded clips.
        """
        return cls.of(read_clips(path))

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> LatentCache:
        """Clips from ``encode``'s tensors."""
        used = int((tensors["tokens"] != PAD).any(0).any(0).nonzero().max()) + 1
        return cls(tensors["video"], tensors["audio"], tensors["tokens"][..., :used].contiguous())

    def cut(self, frames: int) -> LatentCache:
        """The clips in segments of ``frames`` latent frames, each with its whole clip's caption."""
        video, audio = segments(Streams(self.video, self.audio), frames).both()
        return LatentCache(video, audio, self.tokens.repeat_interleave(len(video) // len(self.video), dim=0))

    @staticmethod
    def encode(
        scenes: Sequence[Scene],
        frames: Tensor,
        waveform: Tensor,
        codecs: tuple[VideoCodec, AudioCodec],
        tokenizer: WordTokenizer,
    ) -> dict[str, Tensor]:
        """Latents in float16 and the token ids of every paraphrase of the captions."""
        words = torch.stack(
            [tokenizer.batch([caption(s, paraphrase=p) for p in range(PARAPHRASES)], as_written=True) for s in scenes]
        )
        return {
            "video": codecs[0].encode(frames).half(),
            "audio": codecs[1].encode(waveform).half(),
            "tokens": words.short(),
        }


def read_clips(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that ``duet data`` wrote.

    Raises:
        ValueError: not a file of encoded clips.
    """
    tensors = _tensors(path, remedy="Create it with 'duet data'.")
    if not {"video", "audio", "tokens"} <= set(tensors):
        raise ValueError(
            f"{path} holds {', '.join(sorted(tensors))}; encoded clips are 'video', 'audio' and 'tokens'. Create it with 'duet data'."
        )
    return tensors


Encode = Callable[[Sequence[Scene], Tensor, Tensor], dict[str, Tensor]]


def encoded(
    path: Path, scenes: Sequence[Scene], encode: Encode, *, heard: Sequence[Scene] | None = None
) -> dict[str, Tensor]:
    """The tensors that ``encode`` returns for ``scenes``: rendered and encoded once, later read back from ``path``. ``heard``: the scenes
    of the sound, if they differ from those of the picture.

    Raises:
        ValueError: the file at ``path`` is damaged.
    """
    if not path.is_file():
        encode_to(path, scenes, encode, heard=heard)
    return _tensors(path, remedy="Delete it; the next run renders it again.")


def _tensors(path: Path, *, remedy: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error}). {remedy}") from error


@torch.inference_mode()
def encode_to(path: Path, scenes: Sequence[Scene], encode: Encode, *, heard: Sequence[Scene] | None = None) -> None:
    """Render ``scenes`` in chunks and save the tensors that ``encode`` returns for scenes, frames and waveforms; see ``encoded``."""
    shape = ClipShape(seconds=scenes[0].seconds)
    pairs = list(zip(chunks(scenes), chunks(heard or scenes), strict=True))
    parts = []
    for seen, audible in tqdm(pairs, desc="render", unit=f"x{CHUNK}"):
        sound = render_sound(audible, samples=shape.samples, sample_rate=shape.sample_rate)
        parts.append(encode(seen, render_picture(seen, shape), sound))
    save_tensors(path, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def fit_codecs(
    scenes: Sequence[Scene], shape: ClipShape, codecs: tuple[VideoCodec, AudioCodec], mel: Callable[[Tensor], Tensor]
) -> None:
    """Fit both linear codecs to ``scenes``."""
    rendered = [render(part, shape) for part in chunks(scenes)]
    codecs[0].pca.fit(torch.cat([VideoCodec.to_patches(frames).flatten(0, 3) for frames, _ in rendered]))
    codecs[1].pca.fit(torch.cat([AudioCodec.to_patches(mel(waveform)).flatten(0, 1) for _, waveform in rendered]))
