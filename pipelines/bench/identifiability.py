"""Whether a mask with a sparsity penalty (its "price") finds the factors that two streams share, in a linear model with a known answer
(after SAVA's theorem; the paper has no such model, this one is ours).

Factors: s is shared in some contexts, u belongs to the video only, w to the audio only. The video is a rotation of (s, u), the audio
a rotation of (g s', w), with s' = s where the factor is shared and independent noise elsewhere. A mask on the un-rotated video
predicts the audio. In theory a channel stays open if and only if the variance it explains, g^2, exceeds its price.

Letters: r runs (prices and seeds in parallel), b batch, k contexts, d video channels, e audio channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..models.adapter.gates import GATES, OPEN_LOGIT, bounded_mask, support

SHARED, OWN = 8, 6  # factors that can be shared, and further factors of each stream
ACTIVE = 0.45  # share of the SHARED factors that are shared in a context
PRICES = (0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 1.2, 2.0)
STEPS, BATCH, RATE = 3000, 256, 0.02
WARMUP = 0.6  # share of the steps over which the price rises to its full value
FITTED = 20_000  # samples on which sufficiency is measured


@dataclass(frozen=True)
class Setting:
    """One experiment."""

    gate: str  # one of ``GATES``
    rotation_known: bool = True  # whether the mask sees the un-rotated video, or must learn the rotation
    contexts: int = 12
    gain: float = 1.0  # g: amplitude of the shared factors in the audio


@dataclass(frozen=True)
class Result:
    """For one price and seed: F1 of the open channels against the truly shared ones; error of the audio predicted through the hard mask
    divided by the error without a mask; mean of the mask."""

    price: float
    seed: int
    support_f1: float
    sufficiency: float
    openness: float


class Source:
    """Generates samples of both streams, with rotations and shared factors drawn for each seed."""

    def __init__(self, setting: Setting, seeds: Sequence[int]) -> None:
        self.setting, width = setting, SHARED + OWN
        drawn = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            rotations = torch.linalg.qr(torch.randn(2, width, width, generator=generator))[0]
            shared = torch.rand(setting.contexts, SHARED, generator=generator) < ACTIVE
            shared[:, 0] |= ~shared.any(1)
            drawn.append((rotations[0], rotations[1], shared))
        self.video_rotation, self.audio_rotation, self.shared = (
            torch.stack(parts) for parts in zip(*drawn, strict=True)
        )
        if setting.rotation_known:
            self.video_rotation = torch.eye(width).expand_as(self.video_rotation)

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "r b d"], Float[Tensor, "r b e"], Int[Tensor, "r b"]]:
        """Video, audio and the contexts they belong to."""
        runs = len(self.shared)
        normal = lambda width: torch.randn(runs, count, width, generator=generator)  # noqa: E731 - four draws
        context = torch.randint(self.setting.contexts, (runs, count), generator=generator)
        s, other = normal(SHARED), normal(SHARED)
        heard = torch.where(self.shared[torch.arange(runs)[:, None], context], s, other) * self.setting.gain
        video = torch.cat([s, normal(OWN)], dim=-1) @ self.video_rotation
        return video, torch.cat([heard, normal(OWN)], dim=-1) @ self.audio_rotation, context

    def at(self, index: Tensor) -> Source:
        """A source with run i drawn from run ``index[i]`` of this one."""
        out = object.__new__(Source)
        out.setting = self.setting
        out.video_rotation, out.audio_rotation, out.shared = (
            z[index] for z in (self.video_rotation, self.audio_rotation, self.shared)
        )
        return out


class Learner(nn.Module):
    """An orthonormal q (the identity if the rotation is known), a mask for each context, and a linear predictor of the audio."""

    def __init__(self, setting: Setting, runs: int) -> None:
        super().__init__()
        width = SHARED + OWN
        self.gate, self.rotation_known = GATES[setting.gate], setting.rotation_known
        self.skew = nn.Parameter(torch.randn(runs, width, width, generator=torch.Generator().manual_seed(0)) * 0.1)
        self.logits = nn.Parameter(torch.full((runs, setting.contexts, width), OPEN_LOGIT))
        self.predictor = nn.Parameter(torch.zeros(runs, setting.contexts, width, width))

    def q(self) -> Float[Tensor, "r d d"]:
        if self.rotation_known:
            return torch.eye(self.skew.shape[-1]).expand_as(self.skew)
        return torch.linalg.matrix_exp(self.skew - self.skew.mT)

    def masks(self) -> Float[Tensor, "r k d"]:
        return bounded_mask(self.logits)

    def forward(self, video: Tensor, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted audio [r, b, e] and the masks [r, b, d]."""
        rows = torch.arange(len(video))[:, None]
        z, mask = video @ self.q(), self.masks()[rows, context]
        return torch.einsum("rbd,rbde->rbe", self.gate(z, mask, noise), self.predictor[rows, context]), mask


def learn_masks(
    setting: Setting, *, seeds: Sequence[int], prices: Sequence[float] = PRICES, steps: int = STEPS
) -> list[Result]:
    """Learn masks for every price and seed in one batch, and compare them with the ground truth."""
    index = torch.arange(len(seeds)).repeat(len(prices))
    price = torch.tensor(prices).repeat_interleave(len(seeds))
    source, learner = Source(setting, seeds).at(index), Learner(setting, len(index))
    optimizer = torch.optim.Adam(learner.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, 3 * (1 - n / steps)))
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        video, audio, context = source.draw(BATCH, generator)
        predicted, mask = learner(video, context, torch.randn(video.shape, generator=generator))
        penalty = price * min(1.0, step / (WARMUP * steps)) * mask.sum(-1).mean(1)
        loss = ((audio - predicted).square().sum(-1).mean(1) + penalty).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return _compare(source, learner, price, [seeds[i] for i in index.tolist()])


@torch.inference_mode()
def _compare(source: Source, learner: Learner, price: Tensor, seeds: Sequence[int]) -> list[Result]:
    masks = learner.masks()
    # The factor that each channel of q corresponds to; exact if the rotation is known.
    factor = (source.video_rotation @ learner.q()).abs().argmax(1)  # r d
    true = torch.nn.functional.pad(source.shared.float(), (0, OWN))
    target = true.gather(2, factor[:, None].expand(-1, true.shape[1], -1))
    found = support(masks)
    hits = (found * target).sum((1, 2))
    score = 2 * hits / (found.sum((1, 2)) + target.sum((1, 2))).clamp_min(1)
    ratio = _sufficiency(source, learner.q(), found)
    rows = zip(price.tolist(), seeds, score.tolist(), ratio.tolist(), masks.mean((1, 2)).tolist(), strict=True)
    return [Result(*row) for row in rows]


def _sufficiency(source: Source, q: Tensor, found: Tensor) -> Tensor:
    """Error of the best linear predictor from the masked video divided by that from the whole video, [r]."""
    video, audio, context = source.draw(FITTED, torch.Generator().manual_seed(2))
    rows = torch.arange(len(video))[:, None]
    masked = video @ q * found[rows, context]
    errors = []
    for inside in (masked, video):
        total = torch.zeros(len(video))
        for k in range(found.shape[1]):
            here = (context == k).float()[..., None]
            x, y = inside * here, audio * here
            gram = x.mT @ x + 1e-3 * torch.eye(x.shape[-1])
            total += (y - x @ torch.linalg.solve(gram, x.mT @ y)).square().sum((1, 2))
        errors.append(total)
    return errors[0] / errors[1]
