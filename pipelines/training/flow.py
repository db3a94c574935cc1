"""Training of the pocket network and its text encoder: rectified flow over all six tasks in one batch.

The task of a sample is a row of flags: which directions are open, which stream is clean, and which streams count in the loss
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

from ..core.streams import Streams
from ..core.weights import save_weights, to_half
from ..models.pocket.network import PocketConfig, TwinStreamDiT
from ..models.pocket.text import TextEncoder
from .data import LatentCache
from .parallel import denominator

TEXT_DROP = 0.1
LEAST_SIGMA = 0.2  # floor of the 1/sigma^2 weight: a few nearly clean samples would dominate the batch


@dataclass(frozen=True)
class Task:
    """Routes, clean streams and trained streams of one task; ``first`` keeps the first latent frame."""

    a2v: bool
    v2a: bool
    clean_video: bool = False
    clean_audio: bool = False
    learn_video: bool = True
    learn_audio: bool = True
    first: bool = False


# T2V and T2A share a row: with both routes closed the streams cannot see each other.
TASKS = {
    "t2av": Task(True, True),
    "ti2av": Task(True, True, first=True),
    "t2v+t2a": Task(False, False),
    "i2v+t2a": Task(False, False, first=True),
    "a2v": Task(True, False, clean_audio=True, learn_audio=False),
    "v2a": Task(False, True, clean_video=True, learn_video=False),
}


@dataclass(frozen=True)
class Recipe:
    """Task mix of one CCL training stage: shares of ``TASKS`` (normalised), and how samples are drawn.

    Raises:
        ValueError: an unknown task, a negative share, or only zero shares.
    """

    mix: dict[str, float]
    streams: tuple[str, ...] = ("video", "audio")  # the streams present; a single one is CCL's pretraining
    shared_level: float = 0.6  # share of joint samples in which both streams have the same noise level
    stop_gradient: bool = False  # whether gradients stop at a clean stream (another group's interpretation of CCL)
    by_task: bool = True  # whether routes follow the task (CCL's dynamic context routing) or are always open

    def __post_init__(self) -> None:
        for name, share in self.mix.items():
            if name not in TASKS:
                raise ValueError(f"{name!r} is not a task; the tasks are {', '.join(TASKS)}.")
            if share < 0:
                raise ValueError(f"The share of {name} is {share}; it must be at least 0.")
        if not sum(self.mix.values()) > 0:
            raise ValueError("Every share of the task mix is 0; give at least one task a positive share.")

    @property
    def shares(self) -> Tensor:
        """Probability of each of ``TASKS``."""
        return torch.tensor([self.mix.get(name, 0.0) for name in TASKS]) / sum(self.mix.values())


# The joint shares are CCL's as reported (T2V/I2V .1, T2A .1, joint .6, A2V .15, V2A .15; they sum to 1.1 and are
# normalised). A row of both unimodal tasks at once counts for each of them.
RECIPES = {
    "video": Recipe({"t2v+t2a": 0.9, "i2v+t2a": 0.1}, streams=("video",)),
    "audio": Recipe({"t2v+t2a": 1.0}, streams=("audio",)),
    "joint": Recipe({"t2av": 0.54, "ti2av": 0.06, "t2v+t2a": 0.18, "i2v+t2a": 0.02, "a2v": 0.15, "v2a": 0.15}),
}


@dataclass(frozen=True)
class FlowBatch:
    """For each stream present: clean latents, noise, noise levels [b, n], routes and loss weights [b], tokens [b, m]; and
    which clips of the cache they are, [b]."""

    x0: Streams[Tensor]
    noise: Streams[Tensor]
    sigma: Streams[Tensor]
    route: Streams[Tensor]
    weight: Streams[Tensor]
    tokens: Streams[Tensor]
    pick: Tensor

    def of(self, stream: str) -> FlowBatch:
        """The batch reduced to one stream."""
        pairs = {name: value for name, value in vars(self).items() if isinstance(value, Streams)}
        return FlowBatch(**{name: pair.only(stream) for name, pair in pairs.items()}, pick=self.pick)


def of_task(name: str, task: Tensor) -> Tensor:
    """The flag ``name`` of ``Task`` for each sample; ``task`` [b] holds indices into ``TASKS``."""
    return torch.tensor([getattr(t, name) for t in TASKS.values()])[task]


def draw_levels(task: Tensor, *, frames: int, shared_level: float, generator: torch.Generator) -> Streams[Tensor]:
    """Logit-normal noise levels: video [b, frames], audio [b, 1]; shared by both streams in part of the joint samples."""
    count = len(task)
    flags = {name: of_task(name, task) for name in ("a2v", "v2a", "clean_video", "clean_audio", "first")}
    video, audio = torch.randn(2, count, generator=generator).sigmoid()
    together = flags["a2v"] & flags["v2a"] & (torch.rand(count, generator=generator) < shared_level)
    audio = torch.where(together, video, audio)
    video = torch.where(flags["clean_video"], 0.0, video)[:, None].repeat(1, frames)
    video[:, 0] = torch.where(flags["first"], 0.0, video[:, 0])
    return Streams(video, torch.where(flags["clean_audio"], 0.0, audio)[:, None])


def make_batch(cache: LatentCache, size: int, null: Tensor, generator: torch.Generator, *, recipe: Recipe) -> FlowBatch:
    """``size`` random clips, each with a task, a paraphrase for each stream, and the null text for one in ten."""
    pick = torch.randint(len(cache.video), (size,), generator=generator)
    task = torch.multinomial(recipe.shares, size, replacement=True, generator=generator)
    wording = torch.randint(cache.tokens.shape[1], (2, size), generator=generator)
    dropped = torch.rand(size, generator=generator) < TEXT_DROP
    tokens = [torch.where(dropped[:, None], null, cache.tokens[pick, row].long()) for row in wording]
    present = lambda pair: Streams(**{name: getattr(pair, name) for name in recipe.streams})  # noqa: E731
    x0 = present(Streams(cache.video[pick].float(), cache.audio[pick].float()))
    always = torch.full((size,), not recipe.by_task)
    sigma = draw_levels(task, frames=cache.video.shape[2], shared_level=recipe.shared_level, generator=generator)
    return FlowBatch(
        x0=x0,
        noise=x0.map(lambda z: torch.randn(z.shape, generator=generator)),
        sigma=present(sigma),
        route=present(Streams(of_task("a2v", task) | always, of_task("v2a", task) | always)),
        weight=present(Streams(of_task("learn_video", task).float(), of_task("learn_audio", task).float())),
        tokens=present(Streams(*tokens)),
        pick=pick,
    )


def _spread(sigma: Tensor, like: Tensor) -> Tensor:
    """[b, n] levels over latents [b, c, t, ...]."""
    return sigma.view(sigma.shape[0], 1, sigma.shape[1], *[1] * (like.ndim - 3))


class FlowObjective(nn.Module):
    """Flow-matching loss (Lipman et al., 2023) of the network and its text encoder.

    The velocity is (x - x0) / sigma, so its squared error is that of x0 over sigma^2.
    """

    def __init__(self, network: TwinStreamDiT, encoder: TextEncoder, *, stop_gradient: bool = False) -> None:
        super().__init__()
        self.network, self.encoder, self.stop_gradient = network, encoder, stop_gradient

    def forward(self, batch: FlowBatch, conditions: dict[str, Any] | None = None) -> dict[str, Tensor]:
        return self.losses(self.clean(batch, conditions), batch.x0, batch)

    def clean(
        self,
        batch: FlowBatch,
        conditions: dict[str, Any] | None = None,
        timed: tuple[Streams[Tensor], Streams[Tensor]] | None = None,
    ) -> Streams[Tensor]:
        """The network's estimate of x0 from the batch's noisy latents; ``timed``: text states and their log-shares, in place of the batch's
        tokens."""
        x = batch.x0.map(lambda z, n, s: torch.lerp(z, n, _spread(s, z)), batch.noise, batch.sigma)
        detached = batch.sigma.map(lambda s: s.amax(1) == 0) if self.stop_gradient else None
        text, shares = timed or (batch.tokens.map(self.encoder), None)
        return self.network(
            x, batch.sigma, text, route=batch.route, detached=detached, conditions=conditions, timed=shares
        )

    def losses(self, clean: Streams[Tensor], target: Streams[Tensor], batch: FlowBatch) -> dict[str, Tensor]:
        """'loss', and the contribution of each stream: errors of the estimates ``clean`` against ``target``."""
        losses = clean.map(self._loss, target, batch.sigma, batch.weight)
        parts = {name: loss for name, loss in vars(losses).items() if loss is not None}
        return {
            "loss": torch.stack(list(parts.values())).sum(),
            **{name: loss.detach() for name, loss in parts.items()},
        }

    @staticmethod
    def _loss(clean: Tensor, target: Tensor, sigma: Tensor, weight: Tensor) -> Tensor:
        """Squared error of the velocity over what is noisy (a kept frame is excluded), over the samples with weight."""
        error = (
            reduce((clean.float() - target).square(), "b c t ... -> b t", "mean")
            / sigma.clamp_min(LEAST_SIGMA).square()
        )
        noisy = (sigma > 0).float().expand_as(error)
        each = (error * noisy).sum(1) / noisy.sum(1).clamp_min(1)
        return (each * weight).sum() / denominator(weight.sum())


def start_audio_from_video(network: TwinStreamDiT) -> list[str]:
    """Copy the video stream into the audio stream wherever names and shapes agree; returns the names that were left unchanged."""
    own, kept = network.state_dict(), []
    for name, value in own.items():
        twin = own.get(name.replace(".audio.", ".video."), value)
        if ".audio." in name and twin.shape == value.shape:
            value.copy_(twin)
        elif ".audio." in name:
            kept.append(name)
    return kept


class FlowStage:
    """Training with one of ``RECIPES`` on cached latents, scored by ``judge`` (synchrony or kinds on development prompts)."""

    def __init__(
        self,
        name: str,
        cache: LatentCache,
        network: TwinStreamDiT,
        encoder: TextEncoder,
        folder: Path,
        *,
        recipe: Recipe,
        judge: Callable[[TwinStreamDiT, TextEncoder], dict[str, float]],
    ) -> None:
        self.name, self.cache, self.folder, self.recipe, self.judge = name, cache, folder, recipe, judge
        self.objective = FlowObjective(network, encoder, stop_gradient=recipe.stop_gradient)
        self.null = encoder.tokenizer.batch([""])[:, : cache.tokens.shape[-1]]
        for stream in ("video", "audio"):  # an earlier stage may have frozen one of them
            network.ends[stream].requires_grad_(stream in recipe.streams)
            network.blocks[stream].requires_grad_(stream in recipe.streams)
        # Training on audio only must not change the text embeddings that the video stream was trained with.
        encoder.requires_grad_(recipe.streams != ("audio",))

    def batch(self, generator: torch.Generator, size: int) -> FlowBatch:
        return make_batch(self.cache, size, self.null, generator, recipe=self.recipe)

    def score(self) -> dict[str, float]:
        return self.judge(self.objective.network, self.objective.encoder)

    def save(self, record: dict[str, Any]) -> list[Path]:
        network, encoder = self.objective.network, self.objective.encoder
        record = {**record, "clips": len(self.cache.video), "mix": self.recipe.mix}
        config: PocketConfig = network.config
        paths = [self.folder / "pocket-av.safetensors", self.folder / "pocket-text.safetensors"]
        save_weights(paths[0], to_half(network), kind="pocket-av", config=vars(config), record=record)
        save_weights(paths[1], to_half(encoder), kind="pocket-text", config=encoder.config, record=record)
        return paths
