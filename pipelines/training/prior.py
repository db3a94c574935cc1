"""Training of HiST-Sypo: the encoders of true clips with a contrastive loss against asynchronous ones, the estimator towards them
with a KL term; then prior layers on the frozen base (JavisDiT; the exact losses are our reconstruction)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..bench.prior_knowledge import NEGATIVES, layout_of, mismatched_audio
from ..core.conditions import BatchPrior
from ..core.streams import Streams
from ..core.weights import save_weights, to_half
from ..models.addons.prior import PriorLayers
from ..models.prior.net import PriorNet
from ..world import Scene
from .add_on import AddOnStage
from .data import CacheSpec, ClipEncoder, LatentCache, encoded

TURNS = 2  # time-shifted negatives for each clip of a batch
FREE_NATS = 8.0  # KL below which no loss is charged: without it the tokens collapse before they carry information


@dataclass(frozen=True)
class PriorCache:
    """Scenes, their encoded clips, and the same clips' latents of sounds that do not fit, [n, negatives, c, t]."""

    scenes: list[Scene]
    latents: LatentCache
    others: Tensor

    @classmethod
    def build(cls, spec: CacheSpec, encoder: ClipEncoder) -> PriorCache:
        """Render and encode the scenes of ``spec``, or read them back from its file."""
        scenes = spec.scenes()

        def encode(part: Sequence[Scene], frames: Tensor, waveform: Tensor) -> dict[str, Tensor]:
            others = mismatched_audio(part, encoder.codecs[1]).half()
            return {**encoder(part, frames, waveform), "others": others}

        found = encoded(spec.path, scenes, encode)
        return cls(scenes, LatentCache.of(found), found["others"])


@dataclass(frozen=True)
class PriorBatch:
    """Clips, sounds that do not fit them, their words, their layouts, the noise of their draws, and by how many latent frames of
    the picture their others are turned."""

    clips: Streams[Tensor]
    other: Float[Tensor, "b c t"]
    ids: Int[Tensor, "b m"]
    layout: Float[Tensor, "b places bins"]
    noise: Float[Tensor, "b n k"]
    turns: Int[Tensor, " turns"]


def turn(clips: Streams[Tensor], frames: int | Tensor) -> Streams[Tensor]:
    """Clips shifted to start ``frames`` latent video frames later, with the cut part appended at the end."""
    video, audio = clips.both()
    each = audio.shape[2] // video.shape[2]

    def later(z: Tensor, by: int | Tensor) -> Tensor:
        return z.index_select(2, (torch.arange(z.shape[2], device=z.device) + by) % z.shape[2])

    return Streams(later(video, frames), later(audio, frames * each))


class PriorObjective(nn.Module):
    """The paper's two losses, and one of ours.

    InfoNCE of a clip's draw against all clips of the batch, the same clips with sounds that do not fit, and the same clips going on
    at another moment (both streams turned by the same time: only when is wrong); the KL divergence of the clip's Gaussian from the
    text's. InfoNCE is bounded by the logarithm of the clips it compares, some 5 nats, so that the tokens need say no more than
    that; the negative log-likelihood of the clip's layout makes them say where and when (ours: the world knows). With the KL
    divergence it is the evidence bound of a layout given its words, so that draws for words are layouts as the world makes them.
    """

    def __init__(self, net: PriorNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: PriorBatch) -> dict[str, Tensor]:
        net, clips = self.net, batch.clips
        video, audio = clips.both()
        seen = net.encoder.encode_video(video)
        states, wrong = (net.encoder.query(seen, net.encoder.encode_audio(sound)) for sound in (audio, batch.other))
        mean, log_variance = net.encoder.moments(states)
        draw = mean + (0.5 * log_variance).exp() * batch.noise
        turned = [net.encoder.states(turn(clips, by)) for by in batch.turns.unbind()]
        scores = net.critic(draw, torch.cat([net.encoder.keys(z) for z in (states, wrong, *turned)]))
        contrast = F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))
        text_mean, text_log_variance = (z.float() for z in net.estimator.moments(batch.ids))
        divergence = gaussian_kl((mean, log_variance), (text_mean, text_log_variance)).sum((1, 2)).mean()
        layout = (
            F.binary_cross_entropy_with_logits(net.reader(draw).float(), batch.layout, reduction="none")
            .sum((1, 2))
            .mean()
        )
        return {
            "loss": contrast + layout + divergence.clamp_min(FREE_NATS),
            "contrast": contrast.detach(),
            "kl": divergence.detach(),
            "layout": layout.detach(),
        }


def gaussian_kl(q: tuple[Tensor, Tensor], p: tuple[Tensor, Tensor]) -> Tensor:
    """KL(q || p) of diagonal Gaussians given as mean and log variance, in nats for each number."""
    (m, v), (n, w) = q, p
    return 0.5 * (w - v + ((m - n).square() + v.exp()) / w.exp() - 1)


class PriorStage:
    """Encoders and estimator together, judged by ``judge``."""

    name = "prior"

    def __init__(
        self, cache: PriorCache, net: PriorNet, path: Path, *, judge: Callable[[PriorNet], dict[str, float]]
    ) -> None:
        self.cache, self.path, self.judge = cache, path, judge
        self.objective = PriorObjective(net)
        self.layouts = torch.stack([layout_of(scene) for scene in cache.scenes])

    def batch(self, generator: torch.Generator, size: int) -> PriorBatch:
        latents, config = self.cache.latents, self.objective.net.config
        pick = torch.randint(len(latents.video), (size,), generator=generator)
        wrong = torch.randint(NEGATIVES, (size,), generator=generator)
        wording = torch.randint(latents.tokens.shape[1], (size,), generator=generator)
        return PriorBatch(
            Streams(latents.video[pick].float(), latents.audio[pick].float()),
            self.cache.others[pick, wrong].float(),
            latents.tokens[pick, wording].long(),
            self.layouts[pick],
            torch.randn(size, config.spatial + config.temporal, config.channels, generator=generator),
            torch.randperm(latents.video.shape[2] - 1, generator=generator)[:TURNS] + 1,
        )

    def score(self) -> dict[str, float]:
        return self.judge(self.objective.net)

    def save(self, record: dict[str, Any]) -> list[Path]:
        net = self.objective.net
        record = {**record, "clips": len(self.cache.scenes)}
        save_weights(self.path, to_half(net), kind="pocket-prior", config=vars(net.config), record=record)
        return [self.path]


class PriorLayersStage(AddOnStage):
    """Prior layers, given a draw from each true clip's own Gaussian."""

    def __init__(self, latents: LatentCache, net: PriorNet, layers: PriorLayers, *parts: Any, **settings: Any) -> None:
        super().__init__("prior-layers", latents, layers, *parts, **settings)
        self.net = net.requires_grad_(False)

    @torch.no_grad()
    def condition(self, pick: Tensor, shown: Tensor, generator: torch.Generator) -> BatchPrior:
        latents = Streams(self.latents.video[pick].float(), self.latents.audio[pick].float())
        mean, log_variance = self.net.encoder.moments(self.net.encoder.states(latents))
        noise = torch.randn(mean.shape, generator=generator)
        draw = mean + (0.5 * log_variance).exp() * noise
        return BatchPrior(draw[:, : self.net.config.spatial], draw[:, self.net.config.spatial :], shown)
