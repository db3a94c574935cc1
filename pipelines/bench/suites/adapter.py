"""Generating one stream from the other: with the streams generated independently, by the network's own cross-modal attention, and by
SAVA's adapter."""

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
from ...guidance.strategy import UCG, PerStreamCFG, Strategy
from ...models.adapter.condition import condition
from ...models.adapter.load import load_adapter
from ...models.adapter.net import MaskedAdapter
from ...models.choose import with_condition
from ...models.pocket.generate import Request, generate, sample
from ...models.pocket.load import PocketModel
from ...sync.events import f1
from ...world import Scene, caption
from ...world.scene import BACKGROUNDS, COLOURS, SOUNDING
from ..fidelity import spectral_distance
from ..prompts import AUDIBLE, Prompt, bench_prompts
from ..readings import Probes, read, true_latents
from ..runner import RECORD, KeepFor, Rows, Run, Variant, differences, run_variants, summarise
from ..scores import Scores
from ..tables import Table

SENSITIVITY_SEED, SENSITIVE = 77, 40  # seed of the noise, and the largest number of scenes
SHARE, SMALL_SHARE = 0.5, 0.125  # of the test list: prompts with an audible source in view, and other prompts
PLAIN_CFG = PerStreamCFG(2.0, 2.0)
RECORD_UCG = UCG("U2'", 2.0, 2.0, 5.0, 5.0)  # in every step, whatever the default of the nodes and the command line is
STRATEGIES = {"": RECORD_UCG, "-cfg": PLAIN_CFG}  # ending of a row's name -> guidance
NOTES = {
    "guidance": "UCG U2' (text 2, other stream 5), 25 steps; cfg 2 for rows ending in -cfg, for 'apart' (streams generated "
    "independently), for the first video of each cascade and for sensitivity"
}
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
]  # pairs of rows whose difference is reported


def _keep_mask(stream: str, latents: Streams[torch.Tensor]) -> KeepMask:
    """Keep ``stream`` of ``latents`` entirely."""
    rows = latents.both()[0].shape[0]
    regenerate = regenerated_frames(stream, latents.map(lambda z: z.shape[2]), seconds=ClipShape().duration)
    return KeepMask(latents, regenerate.map(lambda r: r.expand(rows, -1)))


def keep_from_rendered(stream: str, model: PocketModel, prompts: Sequence[Prompt]) -> KeepMask:
    """One stream of the prompts' rendered scenes, encoded."""
    return _keep_mask(stream, true_latents(model.codecs, [p.scene for p in prompts], ClipShape()))


@torch.inference_mode()
def keep_from_independent(stream: str, strategy: Strategy, model: PocketModel, prompts: Sequence[Prompt]) -> KeepMask:
    """One stream of clips whose streams the network generates independently: the first step of a cascade."""
    texts, seed = [p.text for p in prompts], prompts[0].seed
    request = Request(texts, seed=seed, **RECORD, strategy=UnimodalStrategy(strategy))
    return _keep_mask(stream, sample(model.network, model.text, request))


@torch.inference_mode()
def keep_from_cascade(first: Strategy, strategy: Strategy, model: PocketModel, prompts: Sequence[Prompt]) -> KeepMask:
    """Audio that the adapter generates under ``strategy`` for a video generated independently under ``first``: the second step of a
    bidirectional cascade, whose third step generates the video again for this audio."""
    keep = keep_from_independent(VIDEO, first, model, prompts)
    request = Request(
        [p.text for p in prompts],
        seed=prompts[0].seed,
        **RECORD,
        strategy=strategy,
        keep=keep,
        adapter=_shipped_tokens(V2A, keep),
    )
    return _keep_mask(AUDIO, sample(model.network, model.text, request))


def adapter_tokens(net: MaskedAdapter, way: str, keep: KeepMask) -> AdapterStreams:
    """The tokens that ``net`` computes from the kept stream for the direction ``way`` ('v2a' or 'a2v')."""
    return condition(net, keep.latents.only(SOURCES[way]), way).streams


@cache
def _shipped_adapter() -> MaskedAdapter:
    return load_adapter()


def _shipped_tokens(way: str, keep: KeepMask) -> AdapterStreams:
    return adapter_tokens(_shipped_adapter(), way, keep)


RENDERED: dict[str, KeepFor] = {way: partial(keep_from_rendered, source) for way, source in SOURCES.items()}
INDEPENDENT = partial(keep_from_independent, VIDEO, PLAIN_CFG)


def adapter_variant(net: MaskedAdapter, way: str) -> Variant:
    """Generation of one stream from ``net``'s tokens of the other stream of the rendered scene; without chance and ceiling."""
    tokens = partial(adapter_tokens, net, way)
    return Variant(f"adapter-{way}", RECORD_UCG, keep=RENDERED[way], adapter=tokens, normalise=False)


def _shipped_variant(name: str, way: str, keep: KeepFor, strategy: Strategy = RECORD_UCG) -> Variant:
    """Generation with the shipped adapter."""
    return Variant(name, strategy, keep=keep, adapter=partial(_shipped_tokens, way))


VARIANTS = [
    Variant("apart", UnimodalStrategy(PLAIN_CFG)),
    *(
        Variant(f"native-{way}{ending}", strategy, keep=keep)
        for ending, strategy in STRATEGIES.items()
        for way, keep in RENDERED.items()
    ),
    Variant("native-cascade", RECORD_UCG, keep=INDEPENDENT),
    *(
        _shipped_variant(f"adapter-{way}{ending}", way, keep, strategy)
        for ending, strategy in STRATEGIES.items()
        for way, keep in RENDERED.items()
    ),
    # In a cascade the ending names the guidance of the audio; the video generated from it always uses UCG.
    *(_shipped_variant(f"adapter-cascade{end}", V2A, INDEPENDENT, strategy) for end, strategy in STRATEGIES.items()),
    *(
        _shipped_variant(f"adapter-cascade-both{end}", A2V, partial(keep_from_cascade, PLAIN_CFG, strategy))
        for end, strategy in STRATEGIES.items()
    ),
]


def changed(scene: Scene) -> tuple[Scene, Scene]:
    """``scene`` with another background and colour, which cannot be heard; and ``scene`` with another kind of subject, which can."""
    rng = Random(f"duet change 1/{scene.seed}/{scene.index}")
    own = scene.subjects[0]
    other = lambda options, value: rng.choice([o for o in options if o != value])  # noqa: E731 - used three times
    inaudible = replace(own, colour=other(COLOURS, own.colour))
    audible = replace(own, kind=other(SOUNDING, own.kind))
    return (
        replace(scene, background=other(BACKGROUNDS, scene.background), subjects=(inaudible,)),
        replace(scene, subjects=(audible,)),
    )


@torch.inference_mode()
def sensitivity(model: PocketModel, probes: Probes, scenes: Sequence[Scene], *, adapted: bool) -> list[Scores]:
    """For each scene with one subject: how much the audio generated for its video changes, with the same noise, if the video and its
    caption change in an inaudible and in an audible property (SAVA's test). In dB of the spectrum, and as one minus F1 of the events."""
    both = [changed(scene) for scene in scenes]
    results = []
    for part in (scenes, [a for a, _ in both], [b for _, b in both]):
        keep = _keep_mask(VIDEO, true_latents(model.codecs, part, ClipShape()))
        adapter = _shipped_tokens(V2A, keep) if adapted else None
        request = Request(
            [caption(s) for s in part],
            seed=SENSITIVITY_SEED,
            **RECORD,
            strategy=PLAIN_CFG,
            keep=keep,
            adapter=adapter,
        )
        clips = generate(model, request)
        results.append((torch.stack([clip.waveform for clip in clips]), [r.heard for r in read(probes, clips)]))
    (before, heard), *changes = results
    rows: list[Scores] = [{} for _ in scenes]
    for name, (after, events) in zip(("unheard", "heard"), changes, strict=True):
        for row, a, b, x, y in zip(rows, before, after, heard, events, strict=True):
            row[f"{name}_db"] = spectral_distance(a[None], b[None], sample_rate=ClipShape().sample_rate)
            row[f"{name}_events"] = 1 - f1(x, y) if x or y else 0.0
    for row in rows:
        row |= {f"gap_{unit}": row[f"heard_{unit}"] - row[f"unheard_{unit}"] for unit in ("db", "events")}
    return rows


def _sensitivity_rows(scenes: Sequence[Scene]) -> dict[str, Rows]:
    """The sensitivity of the network's own cross-modal attention and of the adapter."""
    model, probes, rows = PocketModel.load(), Probes.load(), dict[str, Rows]()
    for name, adapted in (("sensitivity-native", False), ("sensitivity-adapter", True)):
        own = with_condition(model, "adapter") if adapted else model
        found = sensitivity(own, probes, scenes, adapted=adapted)
        rows[name] = {"single": {metric: mean_interval([row[metric] for row in found]) for metric in found[0]}}
    return rows


def measure(run: Run) -> Table:
    """Every variant on the same prompts and noise. Kept streams are those of rendered scenes; in a cascade, generated ones."""
    audible = bench_prompts(round(SHARE * run.prompts), run.seed, strata=AUDIBLE)
    others = bench_prompts(round(SMALL_SHARE * run.prompts), run.seed, strata=("silent", "offscreen"))
    prompts = [*audible, *others]
    records = run_variants(VARIANTS, prompts, run)
    rows = {name: summarise(part) for name, part in records.items()}
    for a, b in AGAINST:
        rows[f"{a}-minus-{b}"] = differences(records[a], records[b])
    rows |= _sensitivity_rows([p.scene for p in audible if p.stratum == "single"][:SENSITIVE])
    return Table("adapter", len(prompts), run.seed, rows, NOTES)
