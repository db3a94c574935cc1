"""Training of pocket LTX-2: rectified flow on the pocket latents, with the pocket text encoder frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_dispatch import attention_backend
from torch import Tensor, nn

from ..core.streams import Latents, Streams
from ..core.weights import save_weights, to_half
from ..models.addons.add_on import AddOn
from ..models.addons.context import ContextTokens
from ..models.lora import add_lora, for_host, lora_tensors
from ..models.ltx2.keys import to_official
from ..models.ltx2.load import save_pocket_ltx2
from ..models.ltx2.network import TEXT_ATTENTION
from ..models.ltx2.pocket import PocketLTX2, spread
from ..models.ltx2.pocket_config import CONTEXT_FILE, CONTEXT_KIND, FILE, TIMED_KIND, fold
from ..models.pocket.text import TextEncoder
from .add_on import AddOnBatch
from .data import LatentCache
from .flow import RECIPES, FlowBatch, Recipe, make_batch
from .parallel import denominator
from .plan import PlanStage
from .precision import bfloat16_is_fast
from .timed import TimedBatch, TimedStage

# Both directions of cross-modal attention are always open, so that the null of cross-modal guidance stays untrained, as in the official
# models; tasks differ in what is clean. One noise level for both streams, as LTX samples.
RECIPE = Recipe({"t2av": 0.6, "ti2av": 0.1, "a2v": 0.15, "v2a": 0.15}, shared_level=1.0, by_task=False)
SHIFT = 3.0  # half of the way from logit-normal levels to levels shifted as in sampling


def deviations(latents: Tensor) -> tuple[float, ...]:
    """Standard deviation of each channel of latents [n, c, ...]."""
    return tuple(latents.float().transpose(0, 1).flatten(1).std(1).tolist())


def shifted(sigma: Tensor) -> Tensor:
    """Mean of a noise level and its shift s' = 3 s / (1 + 2 s); 0 stays 0 and 1 stays 1."""
    return (sigma + SHIFT * sigma / (1 + (SHIFT - 1) * sigma)) / 2


def at_shifted_levels(flow: FlowBatch) -> FlowBatch:
    """The same samples at shifted noise levels."""
    return replace(flow, sigma=flow.sigma.map(shifted))


def velocity_loss(velocity: Tensor, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Mean squared error of a velocity [b, c, t, ...] over latent frames whose noise level, [b, t] or [b, 1], is above zero: kept frames
    are excluded."""
    error = (velocity.float() - (noise - x0)).square().movedim(2, 1).flatten(2).mean(2)
    noisy = (sigma > 0).float().expand_as(error)
    return (error * noisy).sum() / denominator(noisy.sum())


class LTX2Objective(nn.Module):
    """Flow-matching loss (Lipman et al., 2023) of the velocity noise - x0 on the latent frames that are noisy."""

    def __init__(self, network: PocketLTX2, encoder: TextEncoder) -> None:
        super().__init__()
        self.network, self.encoder = network, encoder.requires_grad_(False)

    def forward(self, batch: FlowBatch, conditions: dict[str, Any] | None = None) -> dict[str, Tensor]:
        with torch.no_grad():
            text = batch.tokens.map(self.encoder)
        return self.losses(batch, text, conditions=conditions)

    def losses(
        self,
        batch: FlowBatch,
        text: Streams[Tensor],
        timed: Streams[Tensor] | None = None,
        conditions: dict[str, Any] | None = None,
    ) -> dict[str, Tensor]:
        """'loss', and the contribution of each stream, for text states and, if it is timed, their log-shares."""
        scale = Streams(self.network.config.video_scale, self.network.config.audio_scale)
        x0 = _folded(batch.x0.map(lambda z, s: z / torch.tensor(s).view(-1, *[1] * (z.ndim - 2)).to(z), scale))
        noise = _folded(batch.noise)
        x = x0.map(lambda z, n, s: torch.lerp(z, n, spread(s, z).expand_as(z)), noise, batch.sigma)
        route = batch.route if self.network.trained_null else None
        velocity = self.network.velocity(x, batch.sigma, text, route=route, timed=timed, conditions=conditions)
        losses = velocity.map(velocity_loss, x0, noise, batch.sigma)
        video, audio = losses.both()
        return {"loss": video + audio, "video": video.detach(), "audio": audio.detach()}


def _folded(latents: Latents) -> Latents:
    """Latents with the video in the network's layout."""
    video, audio = latents.both()
    return Streams(fold(video), audio)


class LTX2ContextObjective(LTX2Objective):
    """The same loss of the frozen network with context tokens, which alone are trained."""

    def __init__(self, network: PocketLTX2, encoder: TextEncoder) -> None:
        super().__init__(network.requires_grad_(False), encoder)
        self.context = ContextTokens(network.context_config())
        self.context.init_weights()
        network.network.install_context(self.context)


class LTX2AddOnObjective(nn.Module):
    """The same loss of the frozen network with add-on layers, which alone are trained."""

    def __init__(self, layers: AddOn, network: PocketLTX2, encoder: TextEncoder) -> None:
        super().__init__()
        choose_kernel(network)
        self.flow = LTX2Objective(layers.install(network.requires_grad_(False)), encoder)
        self.layers = layers.requires_grad_(True)

    def forward(self, batch: AddOnBatch) -> dict[str, Tensor]:
        return self.flow(batch.flow, {self.layers.NAME: batch.condition})


class LTX2TimedObjective(nn.Module):
    """The same loss of the frozen network with LoRA on its text attention, which alone is trained, for timed text."""

    def __init__(self, network: PocketLTX2, encoder: TextEncoder, *, rank: int) -> None:
        super().__init__()
        self.flow = LTX2Objective(network.requires_grad_(False), encoder)
        add_lora(network.network.transformer, TEXT_ATTENTION, rank=rank)

    def forward(self, batch: TimedBatch) -> dict[str, Tensor]:
        return self.flow.losses(batch.flow, batch.states, batch.shares)


def choose_kernel(network: PocketLTX2) -> None:
    """The attention kernel for training on this processor."""
    if bfloat16_is_fast("cpu") and not torch.cuda.is_available():
        # The kernel of ``attention_kernel``; under torch.compile, diffusers' own choice of a kernel would replace it. The context
        # undoes what the call also sets: the kernel of every other model in this process.
        with attention_backend():
            network.network.transformer.set_attention_backend("_native_math")


class LTX2Stage:
    """Training of pocket LTX-2 on cached latents, scored by ``judge`` (synchrony on development prompts)."""

    name, recipe = "pocket-ltx2", RECIPE
    create: type[LTX2Objective] = LTX2Objective

    def __init__(
        self,
        cache: LatentCache,
        network: PocketLTX2,
        encoder: TextEncoder,
        folder: Path,
        *,
        judge: Callable[[PocketLTX2, TextEncoder], dict[str, float]],
        text_hash: str,
    ) -> None:
        """``text_hash``: the SHA-256 of the weights file of ``encoder``, for the record."""
        self.cache, self.folder, self.judge, self.text_hash = cache, folder, judge, text_hash
        self.objective = self.create(network, encoder)
        choose_kernel(network)
        self.null = encoder.tokenizer.batch([""])[:, : cache.tokens.shape[-1]]

    def batch(self, generator: torch.Generator, size: int) -> FlowBatch:
        return at_shifted_levels(make_batch(self.cache, size, self.null, generator, recipe=self.recipe))

    def score(self) -> dict[str, float]:
        return self.judge(self.objective.network, self.objective.encoder)

    def save(self, record: dict[str, Any]) -> list[Path]:
        """The network. The text encoder is frozen, so that its own file is the one to use with it."""
        own = {"clips": len(self.cache.video), "mix": self.recipe.mix, "text_encoder": self.text_hash}
        path = self.folder / FILE.name
        save_pocket_ltx2(path, self.objective.network, record={**record, **own})
        return [path]


class LTX2ContextStage(LTX2Stage):
    """Training of context tokens on the frozen network with hash ``base``, with CCL's tasks: routes follow the task."""

    name, recipe = CONTEXT_KIND, replace(RECIPES["joint"], shared_level=1.0)
    create = LTX2ContextObjective
    base: str = ""

    def save(self, record: dict[str, Any]) -> list[Path]:
        """The context tokens alone."""
        context, path = self.objective.network.network.context, self.folder / CONTEXT_FILE.name
        assert context is not None  # the objective installs them
        own = {"clips": len(self.cache.video), "mix": self.recipe.mix, "base": self.base}
        config = {**vars(context.config), "base": self.base}
        save_weights(path, to_half(context), kind=CONTEXT_KIND, config=config, record={**record, **own})
        return [path]


class LTX2PlanStage(PlanStage):
    """Training of plan layers on the frozen pocket LTX-2."""

    def batch(self, generator: torch.Generator, size: int) -> AddOnBatch:
        batch = super().batch(generator, size)
        return replace(batch, flow=at_shifted_levels(batch.flow))


class LTX2TimedStage(TimedStage[PocketLTX2]):
    """Training of timed text on the frozen pocket LTX-2."""

    name = TIMED_KIND

    def make_objective(self) -> LTX2TimedObjective:
        choose_kernel(self.network)
        return LTX2TimedObjective(self.network, self.encoder, rank=self.rank)

    def tensors(self) -> dict[str, Tensor]:
        return for_host(to_official(lora_tensors(self.network.network.transformer)))

    def batch(self, generator: torch.Generator, size: int) -> TimedBatch:
        batch = super().batch(generator, size)
        return replace(batch, flow=at_shifted_levels(batch.flow))
