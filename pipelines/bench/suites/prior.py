"""The effect of priors: no prior, samples at several temperatures, the prior of another prompt, the prior of the rendered clip, and a
prior together with a plan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from statistics import fmean

import torch

from ...core.conditions import BatchPrior, batch_prior
from ...core.sizes import ClipShape
from ...core.statistics import Interval, mean_interval
from ...core.streams import Streams
from ...models.choose import with_condition
from ...models.pocket.generate import Request, generate
from ...models.pocket.load import PocketModel
from ...models.prior.load import load_prior_net
from ...models.prior.net import PriorNet
from ...sync.events import f1
from ...world import Scene, make_scenes
from ...world.scene import MIX
from ..prior_knowledge import knowledge, layout_events, layout_of, layout_truth, linear_probe, mismatched_audio, spread
from ..prompts import AUDIBLE, DEVELOPMENT, Prompt, bench_prompts
from ..readings import Probes, Reading, read, true_latents
from ..runner import RECORD, Run, Variant, chunks, differences, run_variants, summarise
from ..tables import Table
from .plan import SHARE, STRATEGY, drawn_timeline

TOKEN_CLIPS, PROBE_CLIPS = 512, 2048  # clips on which the tokens are measured, and to which the linear probe is fitted
PART = 64  # clips in a batch


def clip_prior(net: PriorNet, prompts: Sequence[Prompt]) -> BatchPrior:
    """The priors of the prompts' rendered scenes."""
    return batch_prior([net.encode_clips(_latents([p.scene for p in prompts]))])


@cache
def _model() -> PocketModel:
    return PocketModel.load()


@cache
def _net() -> PriorNet:
    return load_prior_net()


def sampled(temperature: float, prompts: Sequence[Prompt], *, offset: int = 0) -> BatchPrior:
    """A sample of the prior for each prompt, with the prompt's seed plus ``offset``."""
    return batch_prior([_net().sample([p.text], seed=p.seed + offset, temperature=temperature) for p in prompts])


def other_prompts(prompts: Sequence[Prompt]) -> BatchPrior:
    """The mean of the prior for the next prompt in the list."""
    texts = [p.text for p in (*prompts[1:], prompts[0])]
    return batch_prior([_net().sample(texts, seed=0, temperature=0.0)])


def oracle(prompts: Sequence[Prompt]) -> BatchPrior:
    """The shipped net's priors of the prompts' rendered scenes."""
    return clip_prior(_net(), prompts)


VARIANTS = {
    "none": {},
    "prior-0": {"prior": partial(sampled, 0.0)},
    "prior-0.5": {"prior": partial(sampled, 0.5)},
    "prior-1": {"prior": partial(sampled, 1.0)},
    "wrong-words": {"prior": other_prompts},
    "oracle": {"prior": oracle},
    "prior-and-plan": {"prior": partial(sampled, 0.0), "plan": drawn_timeline},
    "plan": {"plan": drawn_timeline},
}
AGAINST = [("prior-0", "none"), ("prior-0.5", "none"), ("prior-1", "none"), ("wrong-words", "none"), ("oracle", "none")]
AGAINST += [("prior-0", "wrong-words"), ("prior-and-plan", "plan")]


def distance(a: Reading, b: Reading) -> float:
    """Distance of two clips: one minus the F1 of their events, averaged over both streams."""
    return 1 - fmean((f1(a.heard, b.heard), f1(a.seen.events, b.seen.events)))


def seed_distances(model: PocketModel, probes: Probes, prompts: Sequence[Prompt]) -> dict[str, Interval]:
    """Distance of two clips of one prompt: 'two_priors' with the same noise, 'two_noises' with the same prior."""
    found: dict[str, list[float]] = {"two_priors": [], "two_noises": []}
    for part in chunks(prompts):
        texts = [p.text for p in part]

        def take(part: Sequence[Prompt], texts: list[str], *, noise: int, prior: int) -> list[Reading]:
            tokens = sampled(1.0, part, offset=prior)
            seed = part[0].seed + noise
            request = Request(texts, seed=seed, **RECORD, strategy=STRATEGY, prior=tokens)
            return read(probes, generate(model, request, batch=len(part)))

        first = take(part, texts, noise=0, prior=0)
        for name, change in (("two_priors", {"noise": 0, "prior": 7}), ("two_noises", {"noise": 70_000, "prior": 0})):
            found[name] += [distance(a, b) for a, b in zip(first, take(part, texts, **change), strict=True)]
    return {name: mean_interval(values) for name, values in found.items()}


def token_metrics(net: PriorNet, seed: int) -> dict[str, Interval]:
    """What the tokens encode, 'linear_f1' with a linear probe fitted to other clips, and the variation of samples and of the world."""
    scenes = make_scenes(seed, TOKEN_CLIPS, mix=MIX, split="test")
    rows = []
    for start in range(0, TOKEN_CLIPS, PART):
        part = scenes[start : start + PART]
        rows += knowledge(net, part, _latents(part), mismatched_audio(part, _model().audio_codec))
    fitted = make_scenes(DEVELOPMENT, PROBE_CLIPS, mix=MIX)
    read = linear_probe(_means(net, fitted), torch.stack([layout_of(s) for s in fitted]), others=_means(net, scenes))
    rows += [{"linear_f1": f1(layout_events(r), layout_truth(s))} for r, s in zip(read, scenes, strict=True)]
    rows += [spread(net, scene) for scene in scenes[:64] if any(s.heard and s.times for s in scene.subjects)]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: mean_interval([row[name] for row in rows if name in row]) for name in names}


def _latents(scenes: Sequence[Scene]) -> Streams[torch.Tensor]:
    return true_latents(_model().codecs, scenes, ClipShape())


def _means(net: PriorNet, scenes: Sequence[Scene]) -> torch.Tensor:
    """The means of the Gaussians that the net predicts from the rendered scenes."""
    parts = (scenes[start : start + PART] for start in range(0, len(scenes), PART))
    return torch.cat([net.encode_clips(_latents(part)).mean for part in parts]).clone()


def measure(run: Run) -> Table:
    """Every variant on the same prompts and noise."""
    prompts = bench_prompts(round(SHARE * run.prompts), run.seed, strata=AUDIBLE)
    variants = [Variant(name, STRATEGY, **how) for name, how in VARIANTS.items()]
    records = run_variants(variants, prompts, run)
    rows = {name: summarise(part) for name, part in records.items()}
    for a, b in AGAINST:
        rows[f"{a}-minus-{b}"] = differences(records[a], records[b])
    model = with_condition(PocketModel.load(), "prior")
    rows["seeds"] = {"all": seed_distances(model, Probes.load(), prompts[::2])}
    rows["tokens"] = {"all": token_metrics(_net(), run.seed)}
    return Table("prior", len(prompts), run.seed, rows, {"guidance": "cfg 2"})
