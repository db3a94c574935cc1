"""Training clips of the two decoders: true clips with their latents, and with the network's own estimates of these latents.

A decoder that has only seen latents of true clips shows every error of the network as blocks or pulses. The network's errors are made by
adding noise to true latents and denoising them again, so that each estimate still belongs to its true clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..core.streams import Latents, Streams
from ..guidance.sampling import euler
from ..guidance.strategy import Branch
from ..models.pocket.denoiser import PocketDenoiser
from ..models.pocket.load import PocketModel
from ..models.pocket.text import PAD
from ..world import Scene, caption, make_scenes
from .data import encoded

CLIPS = 2816
LEVELS = (0.25, 0.7)  # noise levels from which latents are denoised again; above them events move
EULER_STEPS = 4


@dataclass(frozen=True)
class DecoderClips:
    """Clips in memory: frames [n, t, 3, h, w] as bytes, waveforms [n, 2, samples], true latents and the network's estimates of them."""

    frames: Tensor
    waveform: Tensor
    latents: Latents
    estimates: Latents

    @classmethod
    def build(cls, run: Path, *, seed: int, count: int = CLIPS) -> DecoderClips:
        """``count`` clips of training compositions: rendered, encoded and denoised once, later read from the folder ``run``.

        Held-out compositions are excluded: a decoder trained on them would make the measured ceiling too high.
        """
        scenes = make_scenes(seed + 2_002, count, split="train")
        found = encoded(
            run / f"decoders-{seed}-{count}.safetensors", scenes, Estimator(PocketModel.load(), seed + 2_002)
        )
        pair = lambda name: Streams(found[f"video{name}"], found[f"audio{name}"])  # noqa: E731 - used twice
        return cls(found["frames"], found["waveform"], pair(""), pair("_again"))

    def draw(self, stream: str, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``size`` random clips and latents of one stream: half of the latents true, half the network's estimates."""
        pick = torch.randint(len(self.frames), (size,), generator=generator)
        true, again = (getattr(pair, stream)[pick].float() for pair in (self.latents, self.estimates))
        estimated = torch.rand(size, generator=generator) < 0.5
        return pick, torch.where(estimated.view(-1, *[1] * (true.ndim - 1)), again, true)


@dataclass
class Estimator:
    """Encodes rendered scenes, and denoises their latents again from a random noise level."""

    model: PocketModel
    seed: int
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def __call__(self, scenes: Sequence[Scene], frames: Tensor, waveform: Tensor) -> dict[str, Tensor]:
        """Bytes of the frames, float16 waveforms, and float16 latents of both streams: true, and estimated ('_again')."""
        video, audio = self.model.codecs
        true = Streams(video.encode(frames), audio.encode(waveform))
        again = self._again(true, self._text(scenes))
        named = {"": true, "_again": again}
        latents = {f"{s}{name}": getattr(z, s).half() for name, z in named.items() for s in ("video", "audio")}
        return {"frames": (frames * 255).round().byte(), "waveform": waveform.half(), **latents}

    def _text(self, scenes: Sequence[Scene]) -> Tensor:
        words = self.model.text.tokenizer.batch([caption(scene) for scene in scenes], as_written=True)
        return self.model.text(words[:, : int((words != PAD).any(0).nonzero().max()) + 1])

    def _again(self, true: Latents, text: Tensor) -> Latents:
        """``true`` with noise of one level, denoised with plain conditional sampling."""
        low, high = LEVELS
        level = low + (high - low) * float(torch.rand(1, generator=self.generator))
        x = true.map(lambda z: torch.lerp(z, torch.randn(z.shape, generator=self.generator), level))
        denoiser = PocketDenoiser(self.model.network, Streams(text, text), Streams(text, text))
        return euler(lambda z, sigma: denoiser([Branch()], z, sigma)[0], x, torch.linspace(level, 0, EULER_STEPS + 1))
