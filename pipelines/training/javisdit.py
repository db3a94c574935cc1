"""The three stages of JavisDiT v0.1's training (arXiv 2503.23377) on its own classes: audio, the prior, and both streams jointly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..core.conditions import PriorTokens
from ..core.streams import Streams
from ..core.weights import save_tensors
from ..models.catalogue import identify
from ..models.javisdit.files import read_checkpoint
from ..models.javisdit.folder01 import TITLE, JavisFolder01
from ..models.javisdit.prior_heads import KINDS, PriorHeads
from ..models.javisdit.v01 import JavisDiT01
from ..models.javisdit.v01_audio import JavisDiT01Audio
from ..models.prior.estimator import PriorEstimator
from .clip_stage import ClipObjective, ClipStage
from .javisdit_masks import draw_masks
from .javisdit_start import AUDIO
from .lora import LoRABatch, LoRAObjective
from .own_models import Conditions, OwnJavisDiT01, javis_levels
from .prior_losses import official_losses
from .shards import ClipShards, Drawn

DROPPED = 0.1  # share of samples that read a null text, and independently of it a null prior
TINY = 1e-6


def dropped(states: Tensor, null: Tensor, seed: torch.Generator) -> Tensor:
    """``states`` [b, ...] of which one sample in ten is replaced by ``null`` [...], so that guidance has a trained null."""
    chosen = torch.rand(len(states), generator=seed) < DROPPED
    return torch.where(chosen.view(-1, *[1] * (states.ndim - 1)), null.to(states), states)


def frame_loss(velocity: Tensor, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Mean squared error of a velocity [b, c, t, ...] for each sample over its noisy frames (``sigma`` [b, t] above zero), averaged over
    the samples; a stream without noisy frames has no error."""
    error = (velocity.float() - (noise - x0)).square().movedim(2, 1).flatten(2).mean(2)
    noisy = (sigma > 0).float().expand_as(error)
    return ((error * noisy).sum(1) / noisy.sum(1).clamp_min(TINY)).mean()


class JointObjective(LoRAObjective):
    """The third stage: flow matching of both streams, with null texts and priors, and frames that are given clean."""

    loss = staticmethod(frame_loss)

    def __init__(self, model: OwnJavisDiT01) -> None:
        super().__init__(model)
        self.own = model.model

    def batch(self, clips: ClipShards, drawn: Drawn, seed: torch.Generator) -> LoRABatch:
        latents, text, _ = drawn
        video, audio = latents.both()
        level = self.model.levels(len(video), video, clips.config, seed)[:, None]
        masks = draw_masks(len(video), video.shape[2], audio.shape[2], seed)
        noise = latents.map(lambda z: torch.randn(z.shape, generator=seed))
        read = self._with_nulls(self.model.conditions(text, clips.config, seed), seed)
        return LoRABatch(latents, noise, masks.map(lambda noisy: level * noisy), read)

    def _with_nulls(self, read: Conditions, seed: torch.Generator) -> Conditions:
        """The two streams lose their texts independently, as in the official training."""
        assert read.prior is not None
        embedders = Streams(self.own.y_embedder, self.own.audio_y_embedder)
        text = read.text.map(lambda z, e: dropped(z, e.y_embedding[: z.shape[1]].cpu(), seed), embedders)
        null, count = self.own.null_prior(), read.prior.spatial.shape[1]
        tokens = torch.cat([read.prior.spatial, read.prior.temporal], dim=1)
        tokens = dropped(tokens, torch.cat([null.spatial, null.temporal], dim=1)[0].cpu(), seed)
        return Conditions(text, read.mask, read.clips, PriorTokens(tokens[:, :count], tokens[:, count:]))


@dataclass(frozen=True)
class AudioBatch:
    """Clean audio latents, noise, a noise level for each sample, text states, their mask, and the frame rate of the video."""

    x0: Tensor
    noise: Tensor
    level: Float[Tensor, " b"]
    text: Tensor
    mask: Bool[Tensor, "b m"]
    fps: float


class AudioObjective(ClipObjective):
    """The first stage: flow matching of audio from text, with null texts."""

    def __init__(self, network: JavisDiT01Audio) -> None:
        super().__init__()
        self.network = network
        network.checkpointed = True

    def batch(self, clips: ClipShards, drawn: Drawn, seed: torch.Generator) -> AudioBatch:
        latents, stored, _ = drawn
        _, audio = latents.both()
        own = clips.config
        level = javis_levels(len(audio), (own["height"], own["width"], own["frames"]), seed)
        noise = torch.randn(audio.shape, generator=seed)
        null = self.network.audio_y_embedder.y_embedding.cpu()
        text = dropped(stored["video"], null[: stored["video"].shape[1]], seed)
        return AudioBatch(audio, noise, level, text, stored["mask"].bool(), own["fps"])

    def forward(self, batch: AudioBatch) -> dict[str, Tensor]:
        frozen = self.network.rope.freqs  # no stage trains it
        x0, noise, level = (z.to(frozen.device) for z in (batch.x0, batch.noise, batch.level))
        x = torch.lerp(x0, noise, level.view(-1, 1, 1, 1)).to(frozen.dtype)
        text, mask = batch.text.to(frozen), batch.mask.to(frozen.device)
        clean_minus_noise = self.network(x, 1000 * level, text, mask, fps=batch.fps)
        return {"loss": (clean_minus_noise - (x0 - noise)).square().mean()}


@dataclass(frozen=True)
class PriorBatch:
    """Latents, the changed latents of each kind, states of the text tower, noise for the draw, and the frames' height and width."""

    latents: Streams[Tensor]
    changed: dict[str, Streams[Tensor]]
    tower: Tensor
    noise: Tensor
    size: tuple[float, float]


class PriorObjective(ClipObjective):
    """The second stage: the official losses of the prior and its heads; the text tower is frozen."""

    def __init__(self, estimator: PriorEstimator, heads: PriorHeads) -> None:
        super().__init__()
        self.estimator, self.heads = estimator.requires_grad_(True), heads.requires_grad_(True)
        estimator.text_encoder.requires_grad_(False)

    def batch(self, clips: ClipShards, drawn: Drawn, seed: torch.Generator) -> PriorBatch:
        latents, stored, _ = drawn
        changed = {kind: Streams(stored[f"{kind}_video"], stored[f"{kind}_audio"]) for kind in KINDS}
        own = self.estimator.config
        tokens = (len(stored["tower"]), own.spatial_token_num + own.temporal_token_num, own.out_dim)
        size = (float(clips.config["height"]), float(clips.config["width"]))
        return PriorBatch(latents, changed, stored["tower"], torch.randn(tokens, generator=seed), size)

    def forward(self, batch: PriorBatch) -> dict[str, Tensor]:
        device = self.estimator.spatial_query_emb.device
        latents = batch.latents.map(lambda z: z.to(device))
        changed = {kind: streams.map(lambda z: z.to(device)) for kind, streams in batch.changed.items()}
        moments = self.estimator.moments_of(batch.tower.to(device))
        return official_losses(self.heads, moments, batch.noise.to(device), latents, changed, size=batch.size)


class OfficialStage(ClipStage):
    """A stage whose result is a file in the official layout, with what learnt in float32. It gets no card, which would read the whole
    file again; its record is in the file's metadata."""

    def __init__(
        self, name: str, clips: ClipShards, objective: ClipObjective, folder: Path, base: JavisFolder01
    ) -> None:
        super().__init__(name, clips, objective, folder, {"base": base.path.name})
        self.base = base

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the file."""
        if isinstance(self.objective, PriorObjective):
            return {**self.objective.estimator.state_dict(), **self.objective.heads.state_dict()}
        network: JavisDiT01 | JavisDiT01Audio = self.objective.network  # type: ignore[assignment]
        own = network.state_dict()
        if isinstance(network, JavisDiT01):
            return own
        return {**self._beside_audio(), **{name: value for name, value in own.items() if name.startswith(AUDIO)}}

    def _beside_audio(self) -> dict[str, Tensor]:
        """Everything of the base; without its video blocks, as in the official text-to-audio stage, unless it is a whole network."""
        tensors = read_checkpoint(self.base.path / "transformer")
        whole = identify(tensors) == TITLE
        return {n: z for n, z in tensors.items() if whole or not n.startswith(("spatial_blocks.", "temporal_blocks."))}

    def save(self, record: dict[str, Any]) -> list[Path]:
        tensors = {name: value.detach().cpu() for name, value in self.tensors().items()}
        metadata = {"training": json.dumps(self.record(record))}
        save_tensors(self.folder / f"javisdit-v0.1-{self.name}.safetensors", tensors, metadata=metadata)
        return []
