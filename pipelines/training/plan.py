"""Training of plan layers on the frozen base: with the features of the true clips as plan, then also with what the frozen planner
makes of the clips' timelines (Baton's second and third stage)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..metrics.reading import Probes
from ..models.planner.targets import PER_BLOCK, PlanGrid, plan_targets
from ..models.pocket.codec import AudioCodec, VideoCodec
from ..models.pocket.network import TwinStreamDiT
from ..models.pocket.plan import NAME, PlanAttention, PlanReader
from ..models.pocket.text import TextEncoder, WordTokenizer
from ..plan import PlanStreams, PlanTokens
from ..shapes import ClipShape
from ..streams import Streams
from ..weights import halved, save_weights
from ..world import Scene, irregular, make_scenes
from .data import LatentCache, encode_to
from .flow import FlowBatch, FlowObjective, Recipe, make_batch

PLAN_DROP = 0.1
EDITED = 0.4  # share of the clips whose events an artist has moved
PREDICTED = 0.5  # share of the third stage's plans that are the planner's; the others stay true
TEXT_ALSO = 0.5  # share of the dropped plans whose text is dropped too, so that guidance may compare with neither


@dataclass(frozen=True)
class PlanCache:
    """Scenes, their encoded clips and the features of the same clips: video [n, tokens, d], audio [n, tokens, d'], float16."""

    scenes: list[Scene]
    latents: LatentCache
    features: Streams[Tensor]
    grid: PlanGrid

    @classmethod
    def build(
        cls,
        path: Path,
        *,
        seed: int,
        count: int,
        mix: dict[str, float],
        codecs: tuple[VideoCodec, AudioCodec],
        probes: Probes,
        tokenizer: WordTokenizer,
    ) -> PlanCache:
        """Render and encode ``count`` scenes, or read them back from ``path``. Two in five have events moved: a plan must be
        kept where the caption would have it otherwise."""
        scenes = make_scenes(seed, count, mix=mix)
        regular = round((1 - EDITED) * count)
        scenes = scenes[:regular] + [irregular(scene) for scene in scenes[regular:]]

        def encode(part: Sequence[Scene], frames: Tensor, waveform: Tensor) -> dict[str, Tensor]:
            video, audio = plan_targets(probes, frames, waveform).both()
            latents = LatentCache.encode(part, frames, waveform, codecs, tokenizer)
            return {**latents, "plan_video": video.half(), "plan_audio": audio.half()}

        if not path.is_file():
            encode_to(path, scenes, encode)
        found = load_file(path)
        features = Streams(found["plan_video"], found["plan_audio"])
        grid = PlanGrid.of(ClipShape().frames, features.both()[1].shape[1] * PER_BLOCK)
        return cls(scenes, LatentCache.of(found), features, grid)

    def moments(self) -> Streams[tuple[Tensor, Tensor]]:
        """Mean and deviation of each feature channel."""
        return self.features.map(lambda z: (z.float().mean((0, 1)), z.float().std((0, 1)).clamp_min(1e-3)))


@dataclass(frozen=True)
class PlanBatch:
    """A flow batch and the plan of each of its clips."""

    flow: FlowBatch
    plan: PlanStreams


class PlanObjective(nn.Module):
    """The flow-matching loss of the frozen base with plan layers; they alone learn."""

    def __init__(self, layers: PlanReader, network: TwinStreamDiT, encoder: TextEncoder) -> None:
        super().__init__()
        self.layers = layers
        self.flow = FlowObjective(layers.install(network), encoder)

    def forward(self, batch: PlanBatch) -> dict[str, Tensor]:
        return self.flow(batch.flow, conditions={NAME: batch.plan})


class PlanStage:
    """Plan layers, judged by ``judge`` (how well a plan is kept on development prompts). ``predicted`` are the planner's tokens
    for the cache's clips: Baton's third stage; without them it is the second."""

    def __init__(
        self,
        name: str,
        cache: PlanCache,
        layers: PlanReader,
        network: TwinStreamDiT,
        encoder: TextEncoder,
        path: Path,
        *,
        recipe: Recipe,
        base: str,
        judge: Callable[[TwinStreamDiT, TextEncoder], dict[str, float]],
        predicted: Streams[Tensor] | None = None,
        before: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.predicted, self.before = name, predicted, before or {}
        self.cache, self.path, self.recipe, self.base, self.judge = cache, path, recipe, base, judge
        network.requires_grad_(False)
        encoder.requires_grad_(False)
        layers.requires_grad_(True)
        self.objective = PlanObjective(layers, network, encoder)
        self.null = encoder.tokenizer.batch([""])[:, : cache.latents.tokens.shape[-1]]

    def batch(self, generator: torch.Generator, size: int) -> PlanBatch:
        """Random clips with tasks; one plan in ten is hidden, and for half of those the text too."""
        flow = make_batch(self.cache.latents, size, self.null, generator, recipe=self.recipe)
        shown = torch.rand(size, generator=generator) >= PLAN_DROP
        bare = ~shown & (torch.rand(size, generator=generator) < TEXT_ALSO)
        tokens = flow.tokens.map(lambda z: torch.where(bare[:, None], self.null, z))
        features = self.cache.features.map(lambda z: z[flow.pick].float())
        if self.predicted is not None:
            theirs = torch.rand(size, generator=generator) < PREDICTED
            features = features.map(
                lambda true, z: torch.where(theirs[:, None, None], z[flow.pick].float(), true), self.predicted
            )
        plan = self.cache.grid.placed(features)
        return PlanBatch(
            FlowBatch(**{**vars(flow), "tokens": tokens}), plan.map(lambda p: PlanTokens(p.tokens, p.places, shown))
        )

    def score(self) -> dict[str, float]:
        scores = self.judge(self.objective.flow.network, self.objective.flow.encoder)
        return scores | residual_ratio(self.objective, self.batch(torch.Generator().manual_seed(0), 16))

    def save(self, record: dict[str, Any]) -> list[Path]:
        record = {**record, "clips": len(self.cache.latents.video), "base": self.base}
        record |= {"before": self.before} if self.before else {}
        config = {**vars(self.objective.layers.config), "base": self.base}
        save_weights(self.path, halved(self.objective.layers), kind="pocket-plan", config=config, record=record)
        return [self.path]


@torch.inference_mode()
def residual_ratio(objective: PlanObjective, batch: PlanBatch) -> dict[str, float]:
    """'residual': how much the layers add to a token against what it was, as norms, on average over layers; near nought they
    starve. Empty for readers without such layers."""
    found: list[float] = []

    def note(_layer: nn.Module, given: tuple[Any, ...], added: Tensor) -> None:
        found.append(float(added.float().norm() / given[0].float().norm()))

    hooks = [m.register_forward_hook(note) for m in objective.layers.modules() if isinstance(m, PlanAttention)]
    try:
        objective(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {"residual": fmean(found)} if found else {}
