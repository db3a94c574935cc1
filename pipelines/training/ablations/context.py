"""CCL's ablation on a small model and scenes with a single subject: the same data, steps and seeds, one design choice removed at a time.

We could not read the paper's Table 2; the choice of arms is our reconstruction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from ...bench.context_share import context_share
from ...bench.prompts import DEVELOPMENT, TEST, bench_prompts
from ...bench.readings import Probes
from ...bench.runner import Record, Variant, chunks, score_chunk, summarise
from ...bench.tables import commit, write_files
from ...core.files import atomic_output
from ...core.statistics import over_seeds
from ...guidance.strategy import PerStreamCFG
from ...models.pocket.load import PocketModel, load_audio_codec, load_network, load_text_encoder, load_video_codec
from ...models.pocket.network import PocketConfig, TwinStreamDiT
from ...models.pocket.text import TextEncoder
from ...world import vocabulary
from ..data import CacheSpec, ClipEncoder, LatentCache, load_codecs
from ..flow import RECIPES, FlowStage, Recipe, start_audio_from_video
from ..loop import Settings, Trainer, train

SMALL = PocketConfig(
    dim=128,
    depth=3,
    heads=4,
    text_dim=64,
    video_channels=16,
    audio_channels=24,
    context_tokens=8,
    window=1,
    fps=16,
    sample_rate=16_000,
)
STEPS, BATCH, LR, POINTS = 1000, 64, 2e-3, 4
SAMPLING_STEPS = 16
DATA_SEED = 11
CURVE_PROMPTS, FINAL_PROMPTS, MASS_CLIPS = 160, 400, 64  # the first two in thousandths of the bench's lists


@dataclass(frozen=True)
class Arm:
    """One arm: a description, and what it changes in the network and in the recipe."""

    about: str
    network: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


ARMS = {
    "full": Arm("context tokens, windows, aligned time, zero-initialised W_O without a gate, routing by task"),
    "no-context-tokens": Arm("a closed route is masked attention that adds nothing", network={"context_tokens": 0}),
    "no-windows": Arm("every token sees the whole other stream", network={"window": None}),
    "index-positions": Arm("each stream counts its own latent frames instead of seconds", network={"clock": "index"}),
    "gated": Arm("W_O as torch initialises it, behind a tanh gate that starts at zero", network={"gated": True}),
    "no-routing": Arm("routes are open in every task", recipe={"by_task": False}),
}


@dataclass(frozen=True)
class Outcome:
    """One training: synchrony F1 on development against samples seen, scores on the test list, attention on C."""

    arm: str
    seed: int
    curve: list[tuple[int, float]]
    scores: dict[str, float]
    f1: list[float]  # one value for each test prompt, for intervals over seeds and prompts
    mass: dict[str, float]


def run_arm(
    arm: str, seed: int, *, cache: LatentCache, run: Path, steps: int = STEPS, compiled: bool = False
) -> Outcome:
    """Train one arm with one seed, or read back the result of an earlier run; an interrupted training resumes."""
    done = run / f"{arm}-{seed}.json"
    if done.is_file():
        return Outcome(**json.loads(done.read_text()))
    torch.manual_seed(seed)
    network = TwinStreamDiT(replace(SMALL, **ARMS[arm].network))
    network.init_weights()
    encoder = TextEncoder(words=vocabulary(), dim=SMALL.text_dim, depth=2, heads=2)
    folder = run / f"{arm}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    points, measure = folder / "curve.json", _measure(f"{arm} {seed}")

    def judge(network: TwinStreamDiT, encoder: TextEncoder) -> dict[str, float]:
        curve = json.loads(points.read_text()) if points.is_file() else []
        records = measure(network, encoder, CURVE_PROMPTS, DEVELOPMENT, normalise=False)
        value = summarise(records)["all"]["sync_f1"].mean
        curve.append((steps * BATCH * (len(curve) + 1) // POINTS, value))
        with atomic_output(points) as temporary:
            temporary.write_text(json.dumps(curve), encoding="utf-8")
        return {"score": float(len(curve)), "sync_f1": value}  # arms are compared at their last checkpoint

    recipe: Recipe = replace(RECIPES["joint"], **ARMS[arm].recipe)
    stage = FlowStage("ablation", cache, network, encoder, folder, recipe=recipe, judge=judge)
    train(stage, Settings(steps, BATCH, LR, run=folder, seed=seed, score_every=steps // POINTS, compiled=compiled))
    curve = json.loads(points.read_text())
    network = load_network(folder / "pocket-av.safetensors")
    encoder = load_text_encoder(folder / "pocket-text.safetensors")
    records = measure(network, encoder, FINAL_PROMPTS, TEST, normalise=True)
    rows = summarise(records)["all"]
    model = PocketModel(network, encoder, load_video_codec(), load_audio_codec())
    mass = (
        context_share(model, [prompt.scene for prompt, _ in records][:MASS_CLIPS])
        if network.config.context_tokens
        else {}
    )
    names = ("sync_normalised", "sync_f1", "sync_chance", "kind_accuracy", "colour_accuracy", "count_error")
    outcome = Outcome(
        arm, seed, curve[:POINTS], {n: rows[n].mean for n in names}, [s["sync_f1"] for _, s in records], mass
    )
    with atomic_output(done) as temporary:
        temporary.write_text(json.dumps(vars(outcome)), encoding="utf-8")
    return outcome


def _measure(name: str) -> Callable[..., list[Record]]:
    codecs, probes = (load_video_codec(), load_audio_codec()), Probes.load()

    def measure(
        network: TwinStreamDiT, encoder: TextEncoder, prompts: int, seed: int, *, normalise: bool
    ) -> list[Record]:
        model, variant = (
            PocketModel(network, encoder, *codecs),
            Variant(name, PerStreamCFG(), steps=SAMPLING_STEPS, normalise=normalise),
        )
        parts = chunks(bench_prompts(prompts, seed, strata=("single",)))
        return [r for part in parts for r in score_chunk(model, probes, part, variant)]

    return measure


AUDIO_START_STEPS, AUDIO_START_POINTS = 400, (100, 200, 400)
HELD_OUT = 512  # clips at the end of the cache that the comparison of initialisations does not train on


def audio_start(seed: int, *, cache: LatentCache, run: Path) -> dict[str, list[tuple[int, float]]]:
    """Held-out loss of an audio stream trained alone, against steps: initialised from scratch, and from a video stream that was trained
    alone (as in JavisDiT and CCL)."""
    done = run / f"audio-start-{seed}.json"
    if done.is_file():
        return json.loads(done.read_text())
    torch.manual_seed(seed)
    network, encoder = TwinStreamDiT(SMALL), TextEncoder(words=vocabulary(), dim=SMALL.text_dim, depth=2, heads=2)
    network.init_weights()
    parts = [
        LatentCache(*(z[rows] for z in vars(cache).values())) for rows in (slice(-HELD_OUT), slice(-HELD_OUT, None))
    ]
    plan = Settings(AUDIO_START_STEPS, BATCH, LR, run=run, seed=seed)

    def learn(name: str) -> list[tuple[int, float]]:
        stage, held_out = (
            FlowStage(name, part, network, encoder, run, recipe=RECIPES[name], judge=lambda *_: {}) for part in parts
        )
        same, curve = held_out.batch(torch.Generator().manual_seed(0), HELD_OUT), []
        trainer = Trainer(stage, plan)
        trainer.prepare()
        for step in range(AUDIO_START_STEPS):
            trainer.step(step)
            if step + 1 in AUDIO_START_POINTS:
                with torch.no_grad():
                    curve.append((step + 1, stage.objective(same)["loss"].item()))
        return curve

    learn("video")
    start = {name: value.clone() for name, value in network.state_dict().items()}
    found = {"from scratch": learn("audio")}
    network.load_state_dict(start)
    start_audio_from_video(network)
    found["from the video stream"] = learn("audio")
    with atomic_output(done) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")
    return found


def run_ablation(run: Path, target: Path, *, seeds: int, clips: int, compiled: bool) -> dict[str, Any]:
    """Train every arm with every seed (all arms with the first seed, then all with the next) and write the table, page and plot to
    ``target``. Results that are already in ``run`` are not trained again, so that several calls or processes can share the work."""
    run.mkdir(parents=True, exist_ok=True)
    encoder = TextEncoder(words=vocabulary(), dim=SMALL.text_dim, depth=2, heads=2)
    spec = CacheSpec(run / f"single-{clips}.safetensors", DATA_SEED, clips, mix={"single": 1.0})
    cache = LatentCache.build(spec, ClipEncoder(load_codecs(), encoder.tokenizer))
    jobs = [(arm, seed) for seed in range(seeds) for arm in ARMS]
    outcomes = [
        run_arm(arm, seed, cache=cache, run=run, compiled=compiled) for arm, seed in tqdm(jobs, desc="ablation")
    ]
    starts = [audio_start(seed, cache=cache, run=run) for seed in range(seeds)]
    table = report(outcomes, commit=commit()) | {"audio_start": starts}
    return write_ablation(table, target)


def write_ablation(table: dict[str, Any], target: Path) -> dict[str, Any]:
    """Write ``target`` (JSON), its page and its plot."""
    write_files(target, table, page(table), draw(table))
    return table


def report(outcomes: Sequence[Outcome], *, commit: str) -> dict[str, Any]:
    """The table: every arm over its seeds, and its difference from 'full' on the seeds that both have."""
    rows = []
    for arm in ARMS:
        mine = [o for o in outcomes if o.arm == arm]
        if not mine:
            continue
        row: dict[str, Any] = {"variant": arm, "about": ARMS[arm].about, "seeds": [o.seed for o in mine]}
        row["sync_f1"] = over_seeds([_f1(o) for o in mine])["sync_f1"].to_json()
        row["scores"] = {name: round(fmean(o.scores[name] for o in mine), 4) for name in mine[0].scores}
        row["curves"] = [o.curve for o in mine]
        row["context_mass"] = {name: round(fmean(o.mass[name] for o in mine), 4) for name in mine[0].mass}
        full = {o.seed: o for o in outcomes if o.arm == "full"}
        both = [(o, full[o.seed]) for o in mine if o.seed in full]
        if arm != "full" and both:
            sides = ([_f1(o) for o in side] for side in zip(*both, strict=True))
            row["sync_f1_minus_full"] = over_seeds(*sides)["sync_f1"].to_json()
        rows.append(row)
    setting = {"config": vars(SMALL), "steps": STEPS, "batch": BATCH, "lr": LR, "sampling_steps": SAMPLING_STEPS}
    return {"suite": "ablation", "commit": commit, "setting": setting, "rows": rows}


def _f1(outcome: Outcome) -> list[dict[str, float]]:
    return [{"sync_f1": value} for value in outcome.f1]


def draw(table: dict[str, Any]) -> Figure:
    """Synchrony against training samples: a thin line for each training, a thick one for the mean of each arm."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for k, row in enumerate(table["rows"]):
        colour = f"C{k}"
        for curve in row["curves"]:
            axes.plot(*zip(*curve, strict=True), color=colour, alpha=0.3, linewidth=1)
        points = [list(zip(*step, strict=True)) for step in zip(*row["curves"], strict=True)]
        label = f"{row['variant']} ({len(row['seeds'])} seeds)"
        axes.plot([x[0] for x, _ in points], [fmean(y) for _, y in points], "o-", color=colour, label=label)
    axes.set_xlabel("samples seen")
    axes.set_ylabel("sync_f1, development prompts")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def page(table: dict[str, Any]) -> str:
    """The table as a page."""
    lines = [
        "# CCL's ablation (our reconstruction)",
        "A small single-subject model; test prompts; means [95 % bootstrap over training seeds and prompts].",
        "| arm | seeds | sync_f1 | minus full | sync_normalised | kinds | C: audio to video, event / background | C: video to audio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        show = lambda v: "" if v is None else f"{v['mean']:.3f} [{v['ci95'][0]:.3f}, {v['ci95'][1]:.3f}]"  # noqa: E731
        mass = row["context_mass"]
        shares = [f"{mass[f'{w} event']:.3f} / {mass[f'{w} background']:.3f}" if mass else "" for w in ("a2v", "v2a")]
        cells = [row["variant"], str(len(row["seeds"])), show(row["sync_f1"]), show(row.get("sync_f1_minus_full"))]
        cells += [f"{row['scores']['sync_normalised']:.3f}", f"{row['scores']['kind_accuracy']:.3f}", *shares]
        lines.append(f"| {' | '.join(cells)} |")
    starts, about_starts = table.get("audio_start", []), list[str]()
    for way in starts[0] if starts else ():
        points = [(step, fmean(dict(map(tuple, s[way]))[step] for s in starts)) for step, _ in starts[0][way]]
        losses = ", ".join(f"{loss:.4f} after {step} steps" for step, loss in points)
        about_starts.append(f"* audio stream initialised {way}: {losses} ({len(starts)} seeds, loss on held-out clips)")
    about = [f"* {row['variant']}: {row['about']}" for row in table["rows"]]
    return "\n\n".join(["\n\n".join(lines[:2]), "\n".join(lines[2:]), "\n".join(about + about_starts)]) + "\n"
