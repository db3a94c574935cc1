"""Stage ``prior``: the encoders of true clips and the estimator from text."""

from __future__ import annotations

from ...models.pocket.load import ADD_ONS
from ...models.pocket.network import POCKET
from ...models.prior.load import load_prior_net
from ...models.prior.net import PriorNet, PriorNetConfig
from ...world import vocabulary
from ..judges import judge_prior
from ..prior import PriorStage
from .registry import Job, Preset, register
from .sources import prior_cache

TOKENS = 32


@register("prior", Preset(steps=5000, batch=64, lr=1e-3, score_every=1000))
def build(job: Job) -> PriorStage:
    """'score' is the F1 of the layouts read from the tokens."""
    path = ADD_ONS["pocket-prior"]
    continues = not job.tokens and job.previous_record(path)
    net = load_prior_net().requires_grad_(True) if continues else new_prior(job.tokens or TOKENS)
    return PriorStage(prior_cache(job), net, job.folder / path.name, judge=judge_prior)


def new_prior(tokens: int) -> PriorNet:
    """An untrained prior of ``tokens`` spatial and as many temporal tokens."""
    net = PriorNet(PriorNetConfig(tuple(vocabulary()), POCKET.video_channels, POCKET.audio_channels, tokens, tokens))
    net.init_weights()
    return net
