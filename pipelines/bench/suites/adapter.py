"""One stream from the other: both streams apart, the network's own routes when one of them is given, and SAVA's adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from random import Random

import torch

from ...core.conditions import A2V, SOURCES, V2A, AdapterStreams
from ...core.keep import AUDIO, VIDEO, KeepMask, regenerated_frames
from ...core.sizes import ClipShape
from ...core.statistics import mean_interval
from ...core.streams import Streams
from ...guidance.modifiers import UnimodalStrategy
from ...guidance.strategy import DEFAULT, PerStreamCFG, Strategy
from ...models.adapter.condition import condition
from ...models.adapter.load import load_adapter
from ...models.adapter.net import MaskedAdapter
from ...models.pocket.add_ons import with_add_on
from ...models.pocket.generate import Request, generate, sample
from ...models.pocket.load import PocketModel
from ...sync.events import f1
from ...world import Scene, caption
from ...world.scene import BACKGROUNDS, COLOURS, SOUNDING
from ..fidelity import spectral_distance
from ..prompts import AUDIBLE, Prompt, bench_prompts
from ..readings import Probes, read, true_latents
from ..runner import GivenOf, Rows, Run, Variant, differences, run_variants, summarise
from ..scores import Scores
from ..tables import Table

SENSITIVITY_SEED, SENSITIVE = 77, 40  # noise, and at most so many scenes
SHARE, SMALL_SHARE = 0.5, 0.125  # of the test list: with an audible source in view, and of the rest
PLAIN_CFG = PerStreamCFG(2.0, 2.0)


def of_clips(keep: str, model: PocketModel, prompts: Sequence[Prompt]) -> KeepMask:
    """One stream of the prompts' own clips, encoded."""
    return _kept(keep, true_latents(model.codecs, [p.scene for p in prompts], ClipShape()))


@torch.inference_mode()
def of_takes(keep: str, strategy: Strategy, model: PocketModel, prompts: Sequence[Prompt]) -> KeepMask:
    """One stream of clips that the network itself makes with both streams apart: the first step of a cascade."""
    request = Request([p.text for p in prompts], seed=prompts[0].seed, strategy=UnimodalStrategy(strategy))
    return _kept(keep, sample(model.network, model.text, request))


@torch.inference_mode()
def of_cascade(first: Strategy, strategy: Strategy, model: PocketModel, prompts: Sequence[Prompt]) -> KeepMask:
    """The sound that the adapter makes under ``strategy`` for a picture that was made apart under ``first``: what a bidirectional
    cascade makes the picture again from."""
    given = of_takes(VIDEO, first, model, prompts)
    request = Request(
        [p.text for p in prompts],
        seed=prompts[0].seed,
        strategy=strategy,
        keep=given,
        adapter=carried_by(shipped_adapter(), V2A, given),
    )
    return _kept(AUDIO, sample(model.network, model.text, request))


@cache
def shipped_adapter() -> MaskedAdapter:
    return load_adapter()


def carried_by(net: MaskedAdapter, way: str, given: KeepMask) -> AdapterStreams:
    """What ``net`` lets through of the stream that is given."""
    source = SOURCES[way]
    return condition(net, given.latents.only(source), way).streams


def _shipped(way: str, given: KeepMask) -> AdapterStreams:
    return carried_by(shipped_adapter(), way, given)


CLIPS: dict[str, GivenOf] = {way: partial(of_clips, source) for way, source in SOURCES.items()}


def from_clips(net: MaskedAdapter, way: str) -> Variant:
    """One stream of the prompts' own clips, through ``net`` alone, and the other one made; without chance and ceiling."""
    carry = partial(carried_by, net, way)
    return Variant(f"adapter-{way}", DEFAULT, given=CLIPS[way], adapter=carry, anchored=False)


def _kept(keep: str, latents: Streams[torch.Tensor]) -> KeepMask:
    rows = latents.both()[0].shape[0]
    regenerate = regenerated_frames(keep, latents.map(lambda z: z.shape[2]), seconds=ClipShape().duration)
    return KeepMask(latents, regenerate.map(lambda r: r.expand(rows, -1)))


def _sensitivity_rows(scenes: Sequence[Scene]) -> dict[str, Rows]:
    """How far sounds move, by the network's own route and through the adapter."""
    model, probes, rows = PocketModel.load(), Probes.load(), dict[str, Rows]()
    for name, adapted in (("sensitivity-native", False), ("sensitivity-adapter", True)):
        own = replace(model, network=with_add_on(model.network, "adapter")) if adapted else model
        found = sensitivity(own, probes, scenes, adapted=adapted)
        rows[name] = {"single": {metric: mean_interval([row[metric] for row in found]) for metric in found[0]}}
    return rows


def _variant(name: str, way: str, given: GivenOf, strategy: Strategy = DEFAULT) -> Variant:
    """What the shipped adapter makes of what is given."""
    return Variant(name, strategy, given=given, adapter=partial(_shipped, way))


STRATEGIES = {"": DEFAULT, "-cfg": PLAIN_CFG}
TAKES = partial(of_takes, VIDEO, PLAIN_CFG)
VARIANTS = [
    Variant("apart", UnimodalStrategy(PLAIN_CFG)),
    *(
        Variant(f"native-{way}{end}", how, given=clips)
        for end, how in STRATEGIES.items()
        for way, clips in CLIPS.items()
    ),
    Variant("native-cascade", DEFAULT, given=TAKES),
    *(
        _variant(f"adapter-{way}{end}", way, clips, how)
        for end, how in STRATEGIES.items()
        for way, clips in CLIPS.items()
    ),
    # The end says how the sound in between is made; the picture that follows it is made under the default.
    *(_variant(f"adapter-cascade{end}", V2A, TAKES, how) for end, how in STRATEGIES.items()),
    *(
        _variant(f"adapter-cascade-both{end}", A2V, partial(of_cascade, PLAIN_CFG, how))
        for end, how in STRATEGIES.items()
    ),
]
NOTES = {"guidance": "default (UCG U2'); -cfg, apart, the takes that cascades begin with, and sensitivity: cfg 2"}
AGAINST = [
    ("native-cascade", "apart"),
    ("native-v2a", "native-v2a-cfg"),
    ("native-a2v", "native-a2v-cfg"),
    ("adapter-v2a", "native-v2a"),
    ("adapter-a2v", "native-a2v"),
    ("adapter-v2a", "adapter-v2a-cfg"),
    ("adapter-a2v", "adapter-a2v-cfg"),
    ("adapter-cascade", "native-cascade"),
    ("adapter-cascade-both", "adapter-cascade"),
    ("adapter-cascade-both-cfg", "adapter-cascade-cfg"),
]


def changed(scene: Scene) -> tuple[Scene, Scene]:
    """The scene elsewhere and in another colour, which cannot be heard; and with another kind in its subject's place, which can."""
    rng = Random(f"duet change 1/{scene.seed}/{scene.index}")
    own = scene.subjects[0]
    other = lambda options, value: rng.choice([o for o in options if o != value])  # noqa: E731 - used thrice
    unheard = replace(own, colour=other(COLOURS, own.colour))
    heard = replace(own, kind=other(SOUNDING, own.kind))
    return (
        replace(scene, background=other(BACKGROUNDS, scene.background), subjects=(unheard,)),
        replace(scene, subjects=(heard,)),
    )


@torch.inference_mode()
def sensitivity(model: PocketModel, probes: Probes, scenes: Sequence[Scene], *, adapted: bool) -> list[Scores]:
    """Of each single-subject scene: how far its picture's sound moves, at one noise, when the picture and its words change in what
    cannot be heard and in what can (SAVA's test): decibels of the spectrum, and one minus F1 of the events heard."""
    both = [changed(scene) for scene in scenes]
    takes = []
    for part in (scenes, [u for u, _ in both], [h for _, h in both]):
        given = _kept(VIDEO, true_latents(model.codecs, part, ClipShape()))
        adapter = _shipped(V2A, given) if adapted else None
        request = Request(
            [caption(s) for s in part], seed=SENSITIVITY_SEED, strategy=PLAIN_CFG, keep=given, adapter=adapter
        )
        clips = generate(model, request)
        takes.append((torch.stack([clip.waveform for clip in clips]), [t.heard for t in read(probes, clips)]))
    (before, heard), *changes = takes
    rows: list[Scores] = [{} for _ in scenes]
    for name, (after, events) in zip(("unheard", "heard"), changes, strict=True):
        for row, a, b, x, y in zip(rows, before, after, heard, events, strict=True):
            row[f"{name}_db"] = spectral_distance(a[None], b[None], sample_rate=ClipShape().sample_rate)
            row[f"{name}_events"] = 1 - f1(x, y) if x or y else 0.0
    for row in rows:
        row |= {f"gap_{unit}": row[f"heard_{unit}"] - row[f"unheard_{unit}"] for unit in ("db", "events")}
    return rows


def measure(run: Run) -> Table:
    """Every variant on the same prompts and noises; given streams are of the prompts' own clips, in a cascade of takes."""
    audible = bench_prompts(round(SHARE * run.prompts), run.seed, strata=AUDIBLE)
    others = bench_prompts(round(SMALL_SHARE * run.prompts), run.seed, strata=("silent", "offscreen"))
    prompts = [*audible, *others]
    records = run_variants(VARIANTS, prompts, jobs=run.jobs, on_chunk=run.on_chunk)
    rows = {name: summarise(part) for name, part in records.items()}
    for a, b in AGAINST:
        rows[f"{a}-minus-{b}"] = differences(records[a], records[b])
    rows |= _sensitivity_rows([p.scene for p in audible if p.stratum == "single"][:SENSITIVE])
    return Table("adapter", len(prompts), run.seed, rows, NOTES)
