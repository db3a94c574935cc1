"""Baton's ablation of plan injection (our reconstruction): plan layers on the frozen base, with features of the clips as plans, the same
data, steps and seeds, and one design choice changed at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ...bench.prompts import AUDIBLE, TEST, bench_prompts
from ...bench.readings import Probes
from ...bench.runner import Rows, Variant, chunks, score_chunk
from ...bench.suites.plan import STRATEGY, oracle
from ...bench.tables import Table, plot, write
from ...core.conditions import PlacedTokens, PlanStreams, sinusoidal
from ...core.files import atomic_output
from ...core.statistics import over_seeds
from ...core.streams import Streams
from ...models.addons.add_on import B
from ...models.addons.plan import NAME, Axes, LatentMLP, PlanConfig, PlanLayers, PlanReader
from ...models.pocket.load import PocketModel, load_audio_codec, load_network, load_text_encoder, load_video_codec
from ...models.pocket.network import PocketConfig
from ..flow import RECIPES
from ..loop import Settings, train
from ..plan import PlanCache, PlanStage

STEPS, BATCH, LR = 600, 64, 1.5e-3
PROMPTS = 200  # thousandths of the test list
SAMPLING_STEPS = 25
METRICS = ("plan_realised", "plan_error_ms", "sync_f1", "sync_chance", "sync_ceiling", "side_accuracy", "kind_accuracy")
OCTAVES = 4  # of the sinusoidal positions of plan tokens that are concatenated with the prompt


class PlanWords(PlanReader):
    """Plan tokens appended to the text tokens and read by the existing text attention (Baton's 'concat with text')."""

    def __init__(self, config: PlanConfig, network: PocketConfig) -> None:
        super().__init__()
        self.config, shared = config, {"operations": nn}
        self.video = LatentMLP(config.video, network.text_dim, **shared)
        self.audio = LatentMLP(config.audio, network.text_dim, **shared)
        self.places = nn.ModuleDict(
            {name: nn.Linear(2 * OCTAVES * axes, network.text_dim) for name, axes in (("video", 3), ("audio", 1))}
        )

    def attentions(self) -> list[nn.Module]:
        """No layers: the base's own text attention reads the tokens."""
        return []

    def mlps(self) -> Streams[LatentMLP]:
        return Streams(self.video, self.audio)

    def init_weights(self) -> None:
        """A small last layer. It must not be zero: a token of zeros is masked as padding."""
        for mlp in (self.video, self.audio):
            nn.init.normal_(cast(nn.Linear, mlp.net[-1]).weight, std=1e-2)

    def forward(self, plan: PlanStreams) -> Streams[Tensor]:
        def words(part: PlacedTokens, mlp: LatentMLP, place: nn.Module) -> Tensor:
            tokens = mlp(part.tokens) + place(sinusoidal(part.places.to(part.tokens), octaves=OCTAVES))
            return tokens if part.shown is None else tokens.where(part.shown[:, None, None], 0)

        return plan.map(words, Streams(self.video, self.audio), Streams(self.places["video"], self.places["audio"]))

    def install(self, network: B) -> B:
        def join(_network: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
            x, sigma, text = positional
            plan = (named.get("conditions") or {}).get(NAME)
            if plan is not None:
                text = text.map(lambda e, more: torch.cat([e, more.to(e.dtype)], 1), self(plan))
            return (x, sigma, text), named

        cast(nn.Module, network).register_forward_pre_hook(join, with_kwargs=True)
        return network


@dataclass(frozen=True)
class Arm:
    """One way to inject a plan."""

    about: str
    axes: Axes = "all"
    words: bool = False
    seeds: int | None = None  # number of seeds; None: the requested number


ARMS = {
    "rs-rope": Arm("attention after the text attention, Relative Semantic RoPE over time, row and column"),
    "time-only": Arm("the same with the time axis only", axes="time"),
    "no-rope": Arm("the same without positions", axes="none"),
    "concat": Arm("plan tokens concatenated with the prompt tokens, with sinusoidal positions", words=True, seeds=1),
}


class ArmStage(PlanStage):
    """A plan stage that saves scores instead of weights."""

    def save(self, record: dict[str, Any]) -> list[Path]:
        """Write the scores of every test prompt, with features of its rendered scene as the plan."""
        network, encoder, _ = self.objective.flow.network, self.objective.flow.encoder, record
        model = PocketModel(network, encoder, load_video_codec(), load_audio_codec())
        probes, variant = Probes.load(), Variant(self.name, STRATEGY, SAMPLING_STEPS, plan=oracle)
        parts = chunks(bench_prompts(PROMPTS, TEST, strata=AUDIBLE))
        scores = [s for part in parts for _, s in score_chunk(model, probes, part, variant)]
        with atomic_output(self.path) as temporary:
            temporary.write_text(json.dumps([{m: s[m] for m in METRICS if m in s} for s in scores]), encoding="utf-8")
        return []


def run_arm(
    arm: str, seed: int, *, cache: PlanCache, run: Path, steps: int, compiled: bool = False
) -> list[dict[str, float]]:
    """Scores of each test prompt after training one arm with one seed, or read back from an earlier run; an interrupted training
    resumes."""
    result, settings = run / f"{arm}-{seed}.json", ARMS[arm]
    if not result.is_file():
        torch.manual_seed(seed)
        network, sizes = load_network(), cache.features.map(lambda z: z.shape[-1])
        config = PlanConfig(*sizes.both(), axes=settings.axes)
        layers = (PlanWords if settings.words else PlanLayers)(config, network.config)
        layers.init_weights()
        layers.standardise(cache.moments())
        judge = lambda *_: {"score": 0.0}  # noqa: E731 - arms are compared at their last step
        stage = ArmStage(
            arm, cache, layers, network, load_text_encoder(), result, recipe=RECIPES["joint"], base="", judge=judge
        )
        train(stage, Settings(steps, BATCH, LR, run / f"{arm}-{seed}", seed=seed, score_every=steps, compiled=compiled))
    return json.loads(result.read_text(encoding="utf-8"))


def run_plan_ablation(
    run: Path, target: Path, *, cache: PlanCache, seeds: int, steps: int = STEPS, compiled: bool
) -> Table:
    """Train every arm with every seed (all arms with the first seed, then all with the next) and write the table to ``target``. Results
    that are already in ``run`` are not trained again, so that several calls or processes can share the work."""
    run.mkdir(parents=True, exist_ok=True)
    jobs = [(arm, seed) for seed in range(seeds) for arm, a in ARMS.items() if seed < (a.seeds or seeds)]
    train_arm = partial(run_arm, cache=cache, run=run, steps=steps, compiled=compiled)
    found: dict[str, list[list[dict[str, float]]]] = {}
    for arm, seed in tqdm(jobs, desc="plan ablation"):
        found.setdefault(arm, []).append(train_arm(arm, seed))
    table = report(found, steps=steps, clips=len(cache.latents.video))
    write(table, target, figure=plot(table, "plan_realised"))
    return table


def report(found: dict[str, list[list[dict[str, float]]]], *, steps: int, clips: int) -> Table:
    """The table: each arm over its seeds, and its difference from Relative Semantic RoPE on the seeds that both have."""
    rows: dict[str, Rows] = {arm: {"all": over_seeds(runs)} for arm, runs in found.items()}
    for arm, runs in found.items():
        if arm != "rs-rope":
            base = found["rs-rope"][: len(runs)]
            rows[f"{arm}-minus-rs-rope"] = {"all": over_seeds(runs, base)}
    notes = {
        "training": f"{steps} steps of {BATCH} on {clips} clips, with features of the true clips as the plan, in training and in testing",
        "intervals": "95 % bootstrap over training seeds and, within them, prompts",
        "seeds": {arm: len(runs) for arm, runs in found.items()},
        "arms": {arm: ARMS[arm].about for arm in found},
    }
    prompts = len(next(iter(found.values()))[0])
    return Table("plan-ablation", prompts, TEST, rows, notes)
