"""The official losses of v0.1's prior (HiST-Sypo, arXiv 2503.23377), as JavisDiT's repository computes them.

Draws from text are compared with the tokens of the clip they belong to (index 0) and of pairs with one changed stream ("negatives").

Letters: b clips, x the clip and its negatives, n prior tokens, k channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..core.streams import Streams
from ..models.javisdit.prior_heads import KINDS, SPATIAL, PriorHeads

KL_WEIGHT = 1e-6
Negatives = Mapping[str, Streams[Tensor]]  # for each kind, changed latents of both streams, [b, n, ...]


def official_losses(
    heads: PriorHeads,
    moments: tuple[Float[Tensor, "b n k"], Float[Tensor, "b n k"]],
    noise: Float[Tensor, "b n k"],
    latents: Streams[Tensor],
    negatives: Negatives,
    *,
    size: tuple[float, float],
) -> dict[str, Tensor]:
    """'loss', and its terms for each kind of token and the divergence from a standard normal ('kl').

    moments: mean and log variance of the estimator, spatial tokens first. noise: standard normal. size: height and width in pixels.
    """
    mean, log_variance = moments
    drawn = mean + (0.5 * log_variance).exp() * noise
    spatial = heads.config.spatial_token_num
    patches = heads.embed(latents, size)
    terms: dict[str, Tensor] = {}
    for kind in KINDS:
        prior = drawn[:, :spatial] if kind == SPATIAL else drawn[:, spatial:]
        changed = heads.embed(negatives[kind].map(lambda z: z.flatten(0, 1)), size)
        changed = changed.map(lambda z: z.unflatten(0, (len(mean), -1)))
        pairs = paired(patches, changed)
        tokens = heads.tokens(kind, pairs.map(lambda z: z.flatten(0, 1))).unflatten(0, (len(mean), -1))
        terms |= {f"{kind}_{name}": value for name, value in contrast(tokens, prior, heads.discriminator).items()}
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum((1, 2)).mean()
    terms["kl"] = KL_WEIGHT * kl
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def paired(clip: Streams[Tensor], changed: Streams[Tensor]) -> Streams[Tensor]:
    """The clip, its video with each changed audio, and each changed video with its audio, [b, x, ...]; ``changed`` is [b, n, ...]."""
    video, audio = (z[:, None] for z in clip.both())
    other_video, other_audio = changed.both()
    repeated = [
        z.expand(-1, n, *z.shape[2:]) for z, n in ((video, other_audio.shape[1]), (audio, other_video.shape[1]))
    ]
    return Streams(
        torch.cat([video, repeated[0], other_video], dim=1), torch.cat([audio, other_audio, repeated[1]], dim=1)
    )


def contrast(
    tokens: Float[Tensor, "b x n k"], prior: Float[Tensor, "b n k"], discriminator: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Tensor]:
    """The four losses of one kind of token.

    token: hinge on the cosine of each drawn token with the clip's (at least 1) and the negatives' (at most -1). disc: cross-entropy of the
    discriminator. mse: distance of the draw from the clip's tokens. va: hinge on the cosine of the clip's tokens with the negatives'.
    """
    unit, count = F.normalize(tokens, dim=-1), tokens.shape[1]
    cosine = (unit * F.normalize(prior, dim=-1)[:, None]).sum(-1)
    token = 0.5 * ((1 - cosine[:, :1]).relu().mean() + (1 + cosine[:, 1:]).relu().mean())
    logits = discriminator(prior.repeat_interleave(count, dim=0), tokens.flatten(0, 1)).unflatten(0, (-1, count))
    wanted = torch.zeros_like(logits)
    wanted[:, 0] = 1
    return {
        "token": token,
        "disc": F.binary_cross_entropy_with_logits(logits, wanted),
        "mse": F.mse_loss(prior, tokens[:, 0]),
        "va": ((unit[:, :1] * unit[:, 1:]).sum(-1) + 1).relu().mean(),
    }
