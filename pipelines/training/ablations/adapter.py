"""SAVA's ablations on the pocket latents: the quality of masks, and of audio generated for video with each kind of adapter.

Every arm trains the first stage from scratch with the same steps and seed and one design choice changed; some arms also train the
second stage, for audio only. The arms with other segment lengths are comparable only with each other: they learn from segments of
longer clips, with the same number of seconds per step, and are scored on longer clips. The paper's settings are for other data; the
questions are the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ...bench.prompts import AUDIBLE, TEST, bench_prompts
from ...bench.readings import Probes
from ...bench.runner import Record, Rows, chunks, score_chunk
from ...bench.suites.adapter import adapter_variant
from ...bench.tables import Table, plot, write
from ...core.conditions import V2A
from ...core.files import atomic_output
from ...core.sizes import ClipShape
from ...core.statistics import Interval, mean_interval
from ...models.adapter.gates import OPEN, SOFT
from ...models.adapter.net import OWN, AdapterConfig, MaskedAdapter
from ...models.addons.adapter import AdapterLayers, AdapterLayersConfig
from ...models.pocket.load import PocketModel, load_network, load_text_encoder
from ...models.pocket.network import TwinStreamDiT
from ..adapter import MASKS_SLOWER, RANK, AdapterLayersStage, AdapterStage, Price
from ..data import CacheSpec, ClipEncoder, LatentCache, load_codecs
from ..judges import judge_adapter
from ..loop import Settings, train

STEPS, BATCH, LR = 800, 32, 1.5e-3  # of the first stage
SECOND_STEPS, SECOND_BATCH, SECOND_LR = 600, 64, 3e-3  # of the second stage
SEGMENTS = (1.0, 2.0, 4.0)  # seconds
LONGER = 4.0  # seconds of the clips that are cut into segments
LONGER_SEED = 301
PROMPTS, SILENT_PROMPTS = 120, 240  # thousandths of the test list


@dataclass(frozen=True)
class Arm:
    """One arm: a description, what it changes, whether it also trains the second stage, and whether it learns from segments of longer
    clips."""

    about: str
    config: dict[str, Any] = field(default_factory=dict)
    price: dict[str, float] = field(default_factory=dict)
    second_stage: bool = False
    segments: bool = False


def _arms() -> dict[str, Arm]:
    own = Price()
    arms = {
        "gate": Arm("as shipped", second_stage=True),
        "soft": Arm("the paper's soft mask", {"gate": SOFT}, second_stage=True),
        "unmasked": Arm("no mask", {"gate": OPEN}, second_stage=True),
        "own stream": Arm("masks read their own stream only", {"sees": OWN}),
    }
    for factor in (0.25, 4.0):
        price = {"video": factor * own.video, "audio": factor * own.audio}
        arms[f"lambda x {factor:g}"] = Arm(f"prices multiplied by {factor:g}", price=price)
    for alpha in (0.001, 1.0):
        arms[f"alpha {alpha:g}"] = Arm(f"alpha {alpha:g} instead of {own.alpha:g}", price={"alpha": alpha})
    for seconds in SEGMENTS:
        arms[f"segments of {seconds:g} s"] = Arm(
            f"cut from renders of {LONGER:g} s", {"seconds": seconds}, segments=True
        )
    return arms


ARMS = _arms()


def new_adapter(network: TwinStreamDiT, **config: Any) -> MaskedAdapter:
    """An untrained adapter for a network's latents."""
    own = network.config
    return MaskedAdapter(AdapterConfig(own.video_channels, own.audio_channels, **config))


def longer(cache: LatentCache, run: Path, encoder: ClipEncoder) -> LatentCache:
    """Longer clips with the same total duration as ``cache``."""
    count = round(len(cache.video) * ClipShape().seconds / LONGER)
    spec = CacheSpec(run / f"longer-{count}.safetensors", LONGER_SEED, count, seconds=LONGER)
    return LatentCache.build(spec, encoder)


def run_arm(name: str, *, cache: LatentCache, run: Path, steps: int, compiled: bool) -> dict[str, Any]:
    """The scores of one arm's masks and, with a second stage, of each test prompt; read back if an earlier run has them. An interrupted
    training resumes."""
    result, arm = run / f"{name}.json", ARMS[name]
    if result.is_file():
        return json.loads(result.read_text(encoding="utf-8"))
    torch.manual_seed(0)
    network, text, codecs = load_network(), load_text_encoder(), load_codecs()
    net = new_adapter(network, **arm.config)
    clips = longer(cache, run, ClipEncoder(codecs, text.tokenizer)).cut(net.frames) if arm.segments else cache
    (run / name).mkdir(parents=True, exist_ok=True)
    path, price = run / name / "pocket-adapter.safetensors", replace(Price(), **arm.price)
    first = AdapterStage(clips, net, codecs, path, price=price, steps=steps, judge=_unjudged)
    batch = round(BATCH * ClipShape().seconds / net.config.seconds)
    settings = Settings(steps, batch, LR, run / name, score_every=steps, compiled=compiled)
    train(first, replace(settings, bfloat16=False, lr_factors=MASKS_SLOWER))
    found: dict[str, Any] = {"masks": judge_adapter(net.eval(), seconds=LONGER if arm.segments else net.config.seconds)}
    if arm.second_stage:
        layers = AdapterLayers(AdapterLayersConfig(V2A, net.config.dim, RANK, ""), network.config)
        path = run / name / "pocket-adapter-v2a.safetensors"
        second = AdapterLayersStage(
            cache, net, layers, network, text, path, base="", judge=_unjudged
        )  # fmt: skip
        count = round(SECOND_STEPS * steps / STEPS)
        train(second, replace(settings, steps=count, batch=SECOND_BATCH, lr=SECOND_LR, score_every=count))
        found["scores"] = [{"stratum": p.stratum, **s} for p, s in _scores(PocketModel(network, text, *codecs), net)]
    with atomic_output(result) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")
    return found


def _unjudged(*_: Any) -> dict[str, float]:
    """A constant score: arms are compared at their last step."""
    return {"score": 0.0}


def _scores(model: PocketModel, net: MaskedAdapter) -> list[Record]:
    """Scores of audio generated for the videos of test prompts with audible sources and of prompts with silent ones."""
    variant, probes = adapter_variant(net, V2A), Probes.load()
    prompts = [*bench_prompts(PROMPTS, TEST, strata=AUDIBLE), *bench_prompts(SILENT_PROMPTS, TEST, strata=("silent",))]
    return [record for part in chunks(prompts) for record in score_chunk(model, probes, part, variant)]


def run_adapter_ablation(run: Path, target: Path, *, cache: LatentCache, steps: int = STEPS, compiled: bool) -> Table:
    """Train every arm and write the table to ``target``. Arms whose result is already in ``run`` are not trained again, so that several
    calls or processes can share the work."""
    run.mkdir(parents=True, exist_ok=True)
    train_arm = partial(run_arm, cache=cache, run=run, steps=steps, compiled=compiled)
    table = report({name: train_arm(name) for name in tqdm(ARMS, desc="adapter ablation")}, steps=steps, cache=cache)
    write(table, target, figure=plot(table, "auroc_video"))
    return table


def report(found: dict[str, dict[str, Any]], *, steps: int, cache: LatentCache) -> Table:
    """The table: single values for the masks of each arm, means with intervals over prompts for the scores."""
    rows: dict[str, Rows] = {}
    for name, part in found.items():
        exact = {
            metric: Interval(value, value, value, 1) for metric, value in part["masks"].items() if metric != "score"
        }
        rows[name] = {"masks": exact}
        if "scores" in part:
            rows[name] |= _summary(part["scores"])
    notes = {
        "training": f"masks: {steps} steps of {BATCH} clips of {ClipShape().seconds:g} s (or segments of the same total length); layers "
        f"that read them: {round(SECOND_STEPS * steps / STEPS)} steps of {SECOND_BATCH}; {len(cache.video)} clips, one seed",
        "masks": "scored on development clips with muted sources and off-screen sounds (segments: on longer clips); single values. Errors "
        "are fractions of a segment's own variance and comparable only at equal length",
        "guidance": "default (UCG U2')",
        "arms": {name: ARMS[name].about for name in found},
    }
    return Table("adapter-ablation", len(found["gate"].get("scores", ())), TEST, rows, notes)


def _summary(scores: list[dict[str, Any]]) -> Rows:
    """Means of stored scores by stratum."""
    out: Rows = {}
    for stratum in dict.fromkeys(["all", *(s["stratum"] for s in scores)]):
        part = [s for s in scores if stratum in ("all", s["stratum"])]
        names = dict.fromkeys(name for s in part for name in s if name != "stratum")
        out[stratum] = {name: mean_interval([s[name] for s in part if name in s]) for name in names}
    return out
