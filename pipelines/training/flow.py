"""Training of the pocket network and its text encoder: rectified flow over all six tasks in one batch.

The task of a sample is a row of flags: which direction is open, which stream is clean, which streams are learnt from
(CCL's dynamic context routing; the table and the mix are our reconstruction).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import reduce
from torch import Tensor, nn

from ..models.pocket.network import PocketConfig, TwinStreamDiT
from ..models.pocket.text import TextEncoder
from ..streams import Streams
from ..weights import halved, save_weights
from .data import LatentCache

TEXT_DROP = 0.1
LEAST_SIGMA = (
    0.2  # below it the error of x0 is not weighted up further: a few nearly clean samples would rule the batch
)
SHARED_LEVEL = 0.6  # share of joint samples in which both streams have the same noise level


@dataclass(frozen=True)
class Task:
    """Routes, clean streams and learnt streams of one task; ``first`` gives the first latent frame."""

    share: float
    a2v: bool
    v2a: bool
    clean_video: bool = False
    clean_audio: bool = False
    learn_video: bool = True
    learn_audio: bool = True
    first: bool = False


# T2V and T2A share a row: with both routes closed the streams cannot see each other.
TASKS = {
    "t2av": Task(0.62, True, True),
    "ti2av": Task(0.06, True, True, first=True),
    "t2v+t2a": Task(0.16, False, False),
    "a2v": Task(0.08, True, False, clean_audio=True, learn_audio=False),
    "v2a": Task(0.08, False, True, clean_video=True, learn_video=False),
}


@dataclass(frozen=True)
class FlowBatch:
    """Clean latents, noise, noise levels [b, n], routes and loss weights [b], token numbers [b, m] of each stream."""

    x0: Streams[Tensor]
    noise: Streams[Tensor]
    sigma: Streams[Tensor]
    route: Streams[Tensor]
    weight: Streams[Tensor]
    tokens: Streams[Tensor]


def draw_levels(task: Tensor, *, frames: int, generator: torch.Generator) -> Streams[Tensor]:
    """Logit-normal noise levels: video [b, frames], audio [b, 1]; shared by both streams in part of the joint samples."""
    tasks, count = list(TASKS.values()), len(task)
    flags = {
        name: torch.tensor([getattr(t, name) for t in tasks])[task]
        for name in ("a2v", "v2a", "clean_video", "clean_audio", "first")
    }
    video, audio = torch.randn(2, count, generator=generator).sigmoid()
    together = flags["a2v"] & flags["v2a"] & (torch.rand(count, generator=generator) < SHARED_LEVEL)
    audio = torch.where(together, video, audio)
    video = torch.where(flags["clean_video"], 0.0, video)[:, None].repeat(1, frames)
    video[:, 0] = torch.where(flags["first"], 0.0, video[:, 0])
    return Streams(video, torch.where(flags["clean_audio"], 0.0, audio)[:, None])


def make_batch(cache: LatentCache, size: int, null: Tensor, generator: torch.Generator) -> FlowBatch:
    """``size`` random clips, each with a task, a paraphrase for each stream, and the null text for one in ten."""
    tasks = list(TASKS.values())
    pick = torch.randint(len(cache.video), (size,), generator=generator)
    task = torch.multinomial(torch.tensor([t.share for t in tasks]), size, replacement=True, generator=generator)
    table = lambda name: torch.tensor([getattr(t, name) for t in tasks])[task]  # noqa: E731 - a column of TASKS
    wording = torch.randint(cache.tokens.shape[1], (2, size), generator=generator)
    dropped = torch.rand(size, generator=generator) < TEXT_DROP
    tokens = [torch.where(dropped[:, None], null, cache.tokens[pick, row].long()) for row in wording]
    x0 = Streams(cache.video[pick].float(), cache.audio[pick].float())
    return FlowBatch(
        x0=x0,
        noise=x0.map(lambda z: torch.randn(z.shape, generator=generator)),
        sigma=draw_levels(task, frames=cache.video.shape[2], generator=generator),
        route=Streams(table("a2v"), table("v2a")),
        weight=Streams(table("learn_video").float(), table("learn_audio").float()),
        tokens=Streams(*tokens),
    )


def _spread(sigma: Tensor, like: Tensor) -> Tensor:
    """[b, n] levels over latents [b, c, t, ...]."""
    return sigma.view(sigma.shape[0], 1, sigma.shape[1], *[1] * (like.ndim - 3))


class FlowObjective(nn.Module):
    """Flow-matching loss (Lipman et al., 2023) of the network and its text encoder.

    The velocity is (x - x0) / sigma, so its squared error is that of x0 over sigma^2.
    """

    def __init__(self, network: TwinStreamDiT, encoder: TextEncoder) -> None:
        super().__init__()
        self.network, self.encoder = network, encoder

    def forward(self, batch: FlowBatch) -> dict[str, Tensor]:
        x = batch.x0.map(lambda z, n, s: torch.lerp(z, n, _spread(s, z)), batch.noise, batch.sigma)
        clean = self.network(x, batch.sigma, batch.tokens.map(self.encoder), route=batch.route)
        losses = clean.map(self._loss, batch.x0, batch.sigma, batch.weight)
        return {"loss": losses.video + losses.audio, "video": losses.video.detach(), "audio": losses.audio.detach()}

    @staticmethod
    def _loss(clean: Tensor, x0: Tensor, sigma: Tensor, weight: Tensor) -> Tensor:
        """Squared error of the velocity over what is noisy (a given frame teaches nothing), over the samples that count."""
        error = (
            reduce((clean.float() - x0).square(), "b c t ... -> b t", "mean") / sigma.clamp_min(LEAST_SIGMA).square()
        )
        noisy = (sigma > 0).float().expand_as(error)
        each = (error * noisy).sum(1) / noisy.sum(1).clamp_min(1)
        return (each * weight).sum() / weight.sum().clamp_min(1)


class FlowStage:
    """The network on cached latents, judged by ``judge`` (synchrony on development prompts)."""

    name = "flow"

    def __init__(
        self,
        cache: LatentCache,
        network: TwinStreamDiT,
        encoder: TextEncoder,
        folder: Path,
        *,
        judge: Callable[[TwinStreamDiT, TextEncoder], dict[str, float]],
    ) -> None:
        self.cache, self.folder, self.judge = cache, folder, judge
        self.objective = FlowObjective(network, encoder)
        self.null = encoder.tokenizer.batch([""])

    def batch(self, generator: torch.Generator, size: int) -> FlowBatch:
        return make_batch(self.cache, size, self.null, generator)

    def score(self) -> dict[str, float]:
        return self.judge(self.objective.network, self.objective.encoder)

    def save(self, record: dict[str, Any]) -> list[Path]:
        network, encoder = self.objective.network, self.objective.encoder
        config: PocketConfig = network.config
        paths = [self.folder / "pocket-av.safetensors", self.folder / "pocket-text.safetensors"]
        save_weights(paths[0], halved(network), kind="pocket-av", config=vars(config), record=record)
        save_weights(paths[1], halved(encoder), kind="pocket-text", config=encoder.config, record=record)
        return paths
