"""Training of HiST-Sypo (JavisDiT; the exact losses are our reconstruction): the clip encoders with a contrastive loss against
asynchronous clips, the text estimator with a KL term; then prior layers on the frozen base."""

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

SHIFTS = 2  # time-shifted negatives for each clip of a batch
FREE_NATS = 8.0  # KL below this value adds no gradient; otherwise the tokens collapse before they carry information


@dataclass(frozen=True)
class PriorCache:
    """Scenes, their encoded clips, and latents of audio that does not match each clip's video, [n, negatives, c, t]."""

    scenes: list[Scene]
    latents: LatentCache
    mismatched: Tensor

    @classmethod
    def build(cls, spec: CacheSpec, encoder: ClipEncoder) -> PriorCache:
        """Render and encode the scenes of ``spec``, or read them back from its file."""
        scenes = spec.scenes()

        def encode(part: Sequence[Scene], frames: Tensor, waveform: Tensor) -> dict[str, Tensor]:
            return {**encoder(part, frames, waveform), "others": mismatched_audio(part, encoder.codecs[1]).half()}

        found = encoded(spec.path, scenes, encode)
        return cls(scenes, LatentCache.of(found), found["others"])


@dataclass(frozen=True)
class PriorBatch:
    """Clips, audio that does not match them, token ids of their captions, their layouts, the noise of the samples, and the shifts of
    the time-shifted negatives in latent video frames."""

    clips: Streams[Tensor]
    mismatched: Float[Tensor, "b c t"]
    ids: Int[Tensor, "b m"]
    layout: Float[Tensor, "b places bins"]
    noise: Float[Tensor, "b n k"]
    shifts: Int[Tensor, " shifts"]

    def rows(self, rows: slice) -> PriorBatch:
        """Some of the clips, with all shifts."""
        own = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, Tensor) and name != "shifts"
        }
        return PriorBatch(clips=self.clips.map(lambda z: z[rows]), shifts=self.shifts, **own)


def shift_in_time(clips: Streams[Tensor], frames: int | Tensor) -> Streams[Tensor]:
    """Clips shifted to start ``frames`` latent video frames later, with the cut part appended at the end."""
    video, audio = clips.both()
    each = audio.shape[2] // video.shape[2]

    def later(z: Tensor, by: int | Tensor) -> Tensor:
        return z.index_select(2, (torch.arange(z.shape[2], device=z.device) + by) % z.shape[2])

    return Streams(later(video, frames), later(audio, frames * each))


class PriorObjective(nn.Module):
    """A contrastive and a KL loss after the paper, and a layout loss of ours.

    Contrastive: InfoNCE of a clip's sample against all clips of the batch, the same clips with audio that does not match, and the same
    clips shifted in time (both streams together, so that only the times differ). KL: divergence of the clip's Gaussian from the
    text's. InfoNCE is bounded by the logarithm of the number of clips it compares, about 5 nats, and does not require more information
    than that. The negative log-likelihood of the clip's layout requires where and when events happen, which the world knows. Together
    with the KL term it is the evidence bound of a layout given its caption, so that samples for a caption are plausible layouts.
    """

    def __init__(self, net: PriorNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: PriorBatch) -> dict[str, Tensor]:
        net, clips = self.net, batch.clips
        video, audio = clips.both()
        seen = net.encoder.encode_video(video)
        states, mismatched = (net.encoder.query(seen, net.encoder.encode_audio(z)) for z in (audio, batch.mismatched))
        mean, log_variance = net.encoder.moments(states)
        draw = mean + (0.5 * log_variance).exp() * batch.noise
        shifted = [net.encoder.states(shift_in_time(clips, by)) for by in batch.shifts.unbind()]
        scores = net.critic(draw, torch.cat([net.encoder.keys(z) for z in (states, mismatched, *shifted)]))
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
    """KL(q || p) of diagonal Gaussians, each a pair of mean and log-variance, in nats for each element."""
    (m, v), (n, w) = q, p
    return 0.5 * (w - v + ((m - n).square() + v.exp()) / w.exp() - 1)


class PriorStage:
    """Training of encoders and estimator, scored by ``judge``."""

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
        negative = torch.randint(NEGATIVES, (size,), generator=generator)
        wording = torch.randint(latents.tokens.shape[1], (size,), generator=generator)
        return PriorBatch(
            Streams(latents.video[pick].float(), latents.audio[pick].float()),
            self.cache.mismatched[pick, negative].float(),
            latents.tokens[pick, wording].long(),
            self.layouts[pick],
            torch.randn(size, config.spatial + config.temporal, config.channels, generator=generator),
            torch.randperm(latents.video.shape[2] - 1, generator=generator)[:SHIFTS] + 1,
        )

    def score(self) -> dict[str, float]:
        return self.judge(self.objective.net)

    def save(self, record: dict[str, Any]) -> list[Path]:
        net = self.objective.net
        record = {**record, "clips": len(self.cache.scenes)}
        save_weights(self.path, to_half(net), kind="pocket-prior", config=vars(net.config), record=record)
        return [self.path]


class PriorLayersStage(AddOnStage):
    """Training of prior layers, with a sample from the Gaussian that the encoders predict from each clip."""

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
