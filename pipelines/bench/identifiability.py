"""Does a mask with a price find what two streams share? A linear model of which the answer is known (after SAVA's theorem; the model
is ours, the paper has none).

Factors: s is shared where its context says so, u is the picture's own, w the sound's. The picture is a rotation of (s, u), the sound
of (g s' , w) with s' = s where shared and independent noise elsewhere. A mask over the (unrotated) picture predicts the sound; theory:
a channel stays open if and only if the variance it explains, g^2, is above its price.

Letters: r runs (prices and seeds side by side), b batch, k contexts, d channels of the picture, e of the sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..models.adapter.gates import GATES, OPEN_LOGIT, bounded_mask, support

SHARED, OWN = 8, 6
ACTIVE = 0.45  # of the shared factors, in each context
PRICES = (0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 1.2, 2.0)
STEPS, BATCH, RATE = 3000, 256, 0.02
WARM = 0.6  # of the steps in which the price rises
FITTED = 20_000  # samples by which sufficiency is measured


@dataclass(frozen=True)
class Question:
    """What is asked: how many contexts, whether the picture's rotation is known, the gate, and the gain g of what is shared."""

    gate: str
    known: bool = True
    contexts: int = 12
    gain: float = 1.0


@dataclass(frozen=True)
class Answer:
    """Of one price and seed: F1 of the open channels against the truly shared ones, error of the sound from what the hard mask lets
    through over the error from everything, and the mean mask."""

    price: float
    seed: int
    support_f1: float
    sufficiency: float
    openness: float


class Source:
    """Samples of the streams for each seed."""

    def __init__(self, question: Question, seeds: Sequence[int]) -> None:
        self.question, width = question, SHARED + OWN
        made = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            turns = torch.linalg.qr(torch.randn(2, width, width, generator=generator))[0]
            shared = torch.rand(question.contexts, SHARED, generator=generator) < ACTIVE
            shared[:, 0] |= ~shared.any(1)
            made.append((turns[0], turns[1], shared))
        self.picture_turn, self.sound_turn, self.shared = (torch.stack(parts) for parts in zip(*made, strict=True))
        if question.known:
            self.picture_turn = torch.eye(width).expand_as(self.picture_turn)

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "r b d"], Float[Tensor, "r b e"], Int[Tensor, "r b"]]:
        """Pictures, sounds and contexts."""
        runs = len(self.shared)
        normal = lambda width: torch.randn(runs, count, width, generator=generator)  # noqa: E731 - four draws
        context = torch.randint(self.question.contexts, (runs, count), generator=generator)
        s, other = normal(SHARED), normal(SHARED)
        heard = torch.where(self.shared[torch.arange(runs)[:, None], context], s, other) * self.question.gain
        picture = torch.cat([s, normal(OWN)], dim=-1) @ self.picture_turn
        return picture, torch.cat([heard, normal(OWN)], dim=-1) @ self.sound_turn, context

    def at(self, index: Tensor) -> Source:
        """The same seeds, one for each entry of ``index``."""
        out = object.__new__(Source)
        out.question = self.question
        out.picture_turn, out.sound_turn, out.shared = (
            z[index] for z in (self.picture_turn, self.sound_turn, self.shared)
        )
        return out


class Learner(nn.Module):
    """An orthonormal q (the identity where the rotation is known), a mask for each context, and a linear reader."""

    def __init__(self, question: Question, runs: int) -> None:
        super().__init__()
        width = SHARED + OWN
        self.gate, self.known = GATES[question.gate], question.known
        self.turn = nn.Parameter(torch.randn(runs, width, width, generator=torch.Generator().manual_seed(0)) * 0.1)
        self.logits = nn.Parameter(torch.full((runs, question.contexts, width), OPEN_LOGIT))
        self.reader = nn.Parameter(torch.zeros(runs, question.contexts, width, width))

    def q(self) -> Float[Tensor, "r d d"]:
        if self.known:
            return torch.eye(self.turn.shape[-1]).expand_as(self.turn)
        return torch.linalg.matrix_exp(self.turn - self.turn.mT)

    def masks(self) -> Float[Tensor, "r k d"]:
        return bounded_mask(self.logits)

    def forward(self, picture: Tensor, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The sound it expects, and the masks [r, b, d]."""
        rows = torch.arange(len(picture))[:, None]
        z, mask = picture @ self.q(), self.masks()[rows, context]
        return torch.einsum("rbd,rbde->rbe", self.gate(z, mask, noise), self.reader[rows, context]), mask


def ask(
    question: Question, *, seeds: Sequence[int], prices: Sequence[float] = PRICES, steps: int = STEPS
) -> list[Answer]:
    """Learn masks at every price and seed, all at once, and compare them with the truth."""
    index = torch.arange(len(seeds)).repeat(len(prices))
    price = torch.tensor(prices).repeat_interleave(len(seeds))
    source, learner = Source(question, seeds).at(index), Learner(question, len(index))
    optimizer = torch.optim.Adam(learner.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, 3 * (1 - n / steps)))
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        picture, sound, context = source.draw(BATCH, generator)
        expected, mask = learner(picture, context, torch.randn(picture.shape, generator=generator))
        paid = price * min(1.0, step / (WARM * steps)) * mask.sum(-1).mean(1)
        loss = ((sound - expected).square().sum(-1).mean(1) + paid).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return _judged(source, learner, price, [seeds[i] for i in index.tolist()])


@torch.inference_mode()
def _judged(source: Source, learner: Learner, price: Tensor, seeds: Sequence[int]) -> list[Answer]:
    masks = learner.masks()
    # Which factor each channel of q stands for: exact where the rotation is known.
    factor = (source.picture_turn @ learner.q()).abs().argmax(1)  # r d
    true = torch.nn.functional.pad(source.shared.float(), (0, OWN))
    wanted = true.gather(2, factor[:, None].expand(-1, true.shape[1], -1))
    found = support(masks)
    hits = (found * wanted).sum((1, 2))
    score = 2 * hits / (found.sum((1, 2)) + wanted.sum((1, 2))).clamp_min(1)
    ratio = _sufficiency(source, learner.q(), found)
    rows = zip(price.tolist(), seeds, score.tolist(), ratio.tolist(), masks.mean((1, 2)).tolist(), strict=True)
    return [Answer(*row) for row in rows]


def _sufficiency(source: Source, q: Tensor, found: Tensor) -> Tensor:
    """Error of the best linear reader of the masked picture over that of everything, [r]."""
    picture, sound, context = source.draw(FITTED, torch.Generator().manual_seed(2))
    rows = torch.arange(len(picture))[:, None]
    masked = picture @ q * found[rows, context]
    errors = []
    for inside in (masked, picture):
        total = torch.zeros(len(picture))
        for k in range(found.shape[1]):
            here = (context == k).float()[..., None]
            x, y = inside * here, sound * here
            gram = x.mT @ x + 1e-3 * torch.eye(x.shape[-1])
            total += (y - x @ torch.linalg.solve(gram, x.mT @ y)).square().sum((1, 2))
        errors.append(total)
    return errors[0] / errors[1]
