"""What a prior is worth: none, draws at several temperatures, a draw for other words, the true clips' own, and with a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from statistics import fmean

import torch

from ...core.conditions import BatchPrior, batch_prior
from ...core.sizes import ClipShape
from ...core.statistics import Interval, mean_interval
from ...core.streams import Streams
from ...models.pocket.add_ons import with_add_on
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
from ..runner import Run, Variant, chunks, differences, run_variants, summarise
from ..tables import Table
from .plan import SHARE, STRATEGY, drawn

KNOWN, FITTED = 512, 2048  # clips on which the tokens themselves are measured, and to which a linear probe is fitted
PART = 64
SEEDS = 2  # priors, and noises, that are compared for each prompt


def clip_prior(net: PriorNet, prompts: Sequence[Prompt]) -> BatchPrior:
    """The priors of the prompts' own clips: the oracle's."""
    return batch_prior([net.encode_clips(_latents([p.scene for p in prompts]))])


@cache
def _codecs() -> PocketModel:
    return PocketModel.load()


@cache
def _net() -> PriorNet:
    return load_prior_net()


def sampled(temperature: float, prompts: Sequence[Prompt], *, offset: int = 0) -> BatchPrior:
    """A draw for each prompt, with its own seed."""
    return batch_prior([_net().sample([p.text], seed=p.seed + offset, temperature=temperature) for p in prompts])


def wrong_words(prompts: Sequence[Prompt]) -> BatchPrior:
    """The mean for another prompt's words."""
    texts = [p.text for p in (*prompts[1:], prompts[0])]
    return batch_prior([_net().sample(texts, seed=0, temperature=0.0)])


def oracle(prompts: Sequence[Prompt]) -> BatchPrior:
    return clip_prior(_net(), prompts)


VARIANTS = {
    "none": {},
    "prior-0": {"prior": partial(sampled, 0.0)},
    "prior-0.5": {"prior": partial(sampled, 0.5)},
    "prior-1": {"prior": partial(sampled, 1.0)},
    "wrong-words": {"prior": wrong_words},
    "oracle": {"prior": oracle},
    "prior-and-plan": {"prior": partial(sampled, 0.0), "plan": drawn},
    "plan": {"plan": drawn},
}
AGAINST = [("prior-0", "none"), ("prior-0.5", "none"), ("prior-1", "none"), ("wrong-words", "none"), ("oracle", "none")]
AGAINST += [("prior-0", "wrong-words"), ("prior-and-plan", "plan")]


def distance(a: Reading, b: Reading) -> float:
    """How differently two clips go: one minus the F1 of their events, over both streams."""
    return 1 - fmean((f1(a.heard, b.heard), f1(a.seen.events, b.seen.events)))


def seeds_apart(model: PocketModel, probes: Probes, prompts: Sequence[Prompt]) -> dict[str, Interval]:
    """Distance of two clips of one prompt: two priors at one noise, two noises at one prior, and the same twice (which is 0)."""
    found: dict[str, list[float]] = {"two_priors": [], "two_noises": []}
    for part in chunks(prompts):
        texts = [p.text for p in part]

        def take(part: Sequence[Prompt], texts: list[str], *, noise: int, prior: int) -> list[Reading]:
            given = sampled(1.0, part, offset=prior)
            request = Request(texts, seed=part[0].seed + noise, strategy=STRATEGY, prior=given)
            return read(probes, generate(model, request, batch=len(part)))

        first = take(part, texts, noise=0, prior=0)
        for name, change in (("two_priors", {"noise": 0, "prior": 7}), ("two_noises", {"noise": 70_000, "prior": 0})):
            found[name] += [distance(a, b) for a, b in zip(first, take(part, texts, **change), strict=True)]
    return {name: mean_interval(values) for name, values in found.items()}


def known(net: PriorNet, seed: int) -> dict[str, Interval]:
    """What the tokens know, 'linear_f1' by a probe fitted on other clips, and how draws spread against the world."""
    scenes = make_scenes(seed, KNOWN, mix=MIX, split="test")
    rows = []
    for start in range(0, KNOWN, PART):
        part = scenes[start : start + PART]
        rows += knowledge(net, part, _latents(part), mismatched_audio(part, _codecs().audio_codec))
    fitted = make_scenes(DEVELOPMENT, FITTED, mix=MIX)
    read = linear_probe(_means(net, fitted), torch.stack([layout_of(s) for s in fitted]), others=_means(net, scenes))
    rows += [{"linear_f1": f1(layout_events(r), layout_truth(s))} for r, s in zip(read, scenes, strict=True)]
    rows += [spread(net, scene) for scene in scenes[:64] if any(s.heard and s.times for s in scene.subjects)]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: mean_interval([row[name] for row in rows if name in row]) for name in names}


def _latents(scenes: Sequence[Scene]) -> Streams[torch.Tensor]:
    return true_latents(_codecs().codecs, scenes, ClipShape())


def _means(net: PriorNet, scenes: Sequence[Scene]) -> torch.Tensor:
    """The means of the scenes' own Gaussians."""
    parts = (scenes[start : start + PART] for start in range(0, len(scenes), PART))
    return torch.cat([net.encode_clips(_latents(part)).mean for part in parts]).clone()


def measure(run: Run) -> Table:
    """Every variant on the same prompts and noises."""
    prompts = bench_prompts(round(SHARE * run.prompts), run.seed, strata=AUDIBLE)
    variants = [Variant(name, STRATEGY, **how) for name, how in VARIANTS.items()]
    records = run_variants(variants, prompts, jobs=run.jobs, on_chunk=run.on_chunk)
    rows = {name: summarise(part) for name, part in records.items()}
    for a, b in AGAINST:
        rows[f"{a}-minus-{b}"] = differences(records[a], records[b])
    model = PocketModel.load()
    model = replace(model, network=with_add_on(model.network, "prior"))
    rows["seeds"] = {"all": seeds_apart(model, Probes.load(), prompts[::2])}
    rows["tokens"] = {"all": known(_net(), run.seed)}
    return Table("prior", len(prompts), run.seed, rows, {"guidance": "cfg 2"})
