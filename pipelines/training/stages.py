"""The stages of the pocket model as ``duet train`` runs them, each with its own defaults. Presets are data."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import nn

from ..bench.prompts import AUDIBLE, DEVELOPMENT, bench_prompts
from ..bench.readings import AUDIO_PROBE, VIDEO_PROBE, Probes
from ..bench.runner import Planning, Variant, chunks, score_chunk, summarise
from ..bench.suites.adapter import from_clips
from ..bench.suites.plan import edited, given, oracle, shuffled
from ..bench.suites.prior import clip_prior
from ..core.conditions import WAYS
from ..core.sizes import ClipShape
from ..core.weights import WEIGHTS, load_weights, save_weights, to_half
from ..guidance.modifiers import UnimodalStrategy
from ..guidance.strategy import PerStreamCFG
from ..models.adapter.load import layers_file, load_adapter
from ..models.adapter.net import AdapterConfig, MaskedAdapter
from ..models.addons.adapter import AdapterLayers, AdapterLayersConfig
from ..models.addons.plan import PlanConfig, PlanLayers
from ..models.addons.prior import PriorLayers, PriorLayersConfig
from ..models.planner.load import load_plan_layers, load_planner
from ..models.planner.planner import PlannerConfig, VAPlanner
from ..models.pocket.audio_codec import AudioCodec, log_mel
from ..models.pocket.load import (
    ADD_ONS,
    FILES,
    PocketModel,
    load_audio_codec,
    load_network,
    load_text_encoder,
    load_video_codec,
)
from ..models.pocket.network import POCKET, TwinStreamDiT
from ..models.pocket.text import TextEncoder
from ..models.pocket.video_codec import VideoCodec
from ..models.prior.load import load_prior_layers, load_prior_net
from ..models.prior.net import PriorNet, PriorNetConfig
from ..world import make_scenes, vocabulary
from ..world.scene import MIX, SOUNDING
from .adapter import MASKS_SLOWER, RANK, AdapterLayersStage, AdapterStage, Price
from .card import write_card
from .codec import VideoDecoderStage
from .data import LatentCache, RenderCache, fit_codecs
from .flow import RECIPES, FlowStage, Recipe, start_audio_from_video
from .judges import judge_adapter, judge_prior
from .loop import Settings, Stage, train
from .plan import PlanCache, PlanStage
from .planner import PlannerStage, judge_planner, predicted_features
from .prior import PriorCache, PriorLayersStage, PriorStage
from .probes import AudioProbeStage, VideoProbeStage

CODEC_CLIPS = 1024
PRIOR_TOKENS = 32
JUDGE_PROMPTS = 100  # thousandths of the bench's lists
ADAPTER_WAYS = {f"adapter-{way}": way for way in WAYS}
RENDERED = 4096  # clips kept in memory for the video decoder and the video probe
DECODER = {"width": 192, "depth": 4}
TEXT = {"dim": POCKET.text_dim, "depth": 2, "heads": 4}


@dataclass(frozen=True)
class Preset:
    """A stage's usual length, batch and peak learning rate."""

    steps: int
    batch: int
    lr: float
    score_every: int
    lr_factors: dict[str, float] = field(default_factory=dict)
    bfloat16: bool = True


PRESETS = {
    "video-decoder": Preset(steps=4000, batch=8, lr=1.5e-3, score_every=500),
    "audio-probe": Preset(steps=900, batch=32, lr=2e-3, score_every=150),
    "video-probe": Preset(steps=1200, batch=16, lr=2e-3, score_every=150),
    "video": Preset(steps=2000, batch=64, lr=1.2e-3, score_every=1000),
    "audio": Preset(steps=1000, batch=64, lr=1.2e-3, score_every=500),
    "planner": Preset(steps=3000, batch=32, lr=1e-3, score_every=500),
    "plan": Preset(steps=4000, batch=64, lr=1.5e-3, score_every=1000),
    "plan-adapted": Preset(steps=1500, batch=64, lr=5e-4, score_every=500),
    "prior": Preset(steps=5000, batch=64, lr=1e-3, score_every=1000),
    "prior-layers": Preset(steps=2500, batch=64, lr=1.5e-3, score_every=800),
    "adapter": Preset(steps=2400, batch=32, lr=1.5e-3, score_every=300, lr_factors=MASKS_SLOWER, bfloat16=False),
    "adapter-v2a": Preset(steps=2000, batch=64, lr=3e-3, score_every=1000),
    "adapter-a2v": Preset(steps=2000, batch=64, lr=3e-3, score_every=1000),
    "joint": Preset(steps=8000, batch=64, lr=1e-3, score_every=1600, lr_factors={"context_attention": 2.0}),
}


@dataclass(frozen=True)
class Job:
    """One call of ``duet train``. ``None`` takes the stage's own preset or recipe."""

    stage: str
    run: Path  # folder of checkpoints and caches
    folder: Path = WEIGHTS  # where the weights go
    steps: int | None = None
    batch: int | None = None
    lr: float | None = None
    clips: int = 8192
    seed: int = 0
    from_scratch: bool = False
    compiled: bool = False
    recipe: Recipe | None = None
    audio_from_video: bool = False
    tokens: int | None = None  # spatial tokens of a new prior, and as many temporal ones
    data: Path | None = None  # clips encoded by ``duet data``, in place of the world


def run_stage(job: Job) -> dict[str, Any]:
    """Train a stage and write its weights; returns the record that is stored in them."""
    for folder in (job.folder, job.run):
        folder.mkdir(parents=True, exist_ok=True)
    if job.stage == "codecs":
        return _fit_codecs(job.folder, seed=job.seed)
    preset = PRESETS[job.stage]
    settings = Settings(
        steps=job.steps or preset.steps,
        batch=job.batch or preset.batch,
        lr=job.lr or preset.lr,
        run=job.run,
        seed=job.seed,
        score_every=preset.score_every,
        compiled=job.compiled,
        lr_factors=preset.lr_factors,
        bfloat16=preset.bfloat16,
    )
    torch.manual_seed(job.seed)
    return train(_stage(job), settings)


def _stage(job: Job) -> Stage:
    if job.stage in RECIPES:
        return _flow(job)
    if job.stage in ("plan", "plan-adapted"):
        return _plan(job)
    if job.stage == "planner":
        return _planner(job)
    if job.stage in ("prior", "prior-layers"):
        return _prior(job) if job.stage == "prior" else _prior_layers(job)
    if job.stage == "adapter":
        return _adapter(job)
    if job.stage in ADAPTER_WAYS:
        return _adapter_layers(job, ADAPTER_WAYS[job.stage])
    if job.stage == "audio-probe":
        return AudioProbeStage(load_audio_codec(), job.folder / AUDIO_PROBE.name)
    # The probe must read any composition; a decoder that had seen the held-out ones would flatter the ceiling.
    split = "any" if job.stage == "video-probe" else "train"
    cache = RenderCache.build(seed=job.seed + 2, count=RENDERED, shape=ClipShape(), split=split)
    if job.stage == "video-probe":
        return VideoProbeStage(load_video_codec(), job.folder / VIDEO_PROBE.name, cache=cache)
    return VideoDecoderStage(_decoder(load_video_codec()), job.folder / FILES["video-codec"].name, cache=cache)


def _flow(job: Job) -> FlowStage:
    recipe, codecs = job.recipe or RECIPES[job.stage], (load_video_codec(), load_audio_codec())
    network, encoder = _start(job.from_scratch)
    if job.audio_from_video:
        start_audio_from_video(network)
    cache = LatentCache.read(job.data) if job.data else _rendered(job, codecs, encoder)
    judge = _judge(job.stage, recipe, codecs)
    return FlowStage(job.stage, cache, network, encoder, job.folder, recipe=recipe, judge=judge)


def plan_cache(job: Job) -> PlanCache:
    """Clips with the features that plans aim at, made once for each seed and number."""
    return PlanCache.build(
        job.data or job.run / f"plan-{job.seed}-{job.clips}.safetensors",
        seed=job.seed + 101,
        count=job.clips,
        mix=MIX,
        codecs=(load_video_codec(), load_audio_codec()),
        probes=Probes.load(),
        tokenizer=load_text_encoder().tokenizer,
    )


def _goes_on(job: Job, path: Path) -> dict[str, Any]:
    """The record of the shipped weights that ``job`` goes on from; empty if it starts anew."""
    return {} if job.from_scratch or not path.is_file() else load_weights(path, path.stem).record


def _planner(job: Job) -> PlannerStage:
    """The planner on the features of true clips; 'score' is how much of them it explains, given their timelines."""
    cache, probes = plan_cache(job), Probes.load()
    warm = _goes_on(job, ADD_ONS["pocket-planner"])
    if warm:
        planner = load_planner().requires_grad_(True)
    else:
        sizes = cache.features.map(lambda z: z.shape[-1])
        config = PlannerConfig(tuple(vocabulary()), SOUNDING, cache.grid.keyframes, cache.grid.blocks, *sizes.both())
        planner = VAPlanner(config)
        planner.standardise(cache.moments())
    prompts = bench_prompts(JUDGE_PROMPTS, DEVELOPMENT)
    judge = partial(judge_planner, prompts=prompts, probes=probes)
    return PlannerStage(cache, planner, job.folder / ADD_ONS["pocket-planner"].name, judge=judge, before=warm)


def _plan(job: Job) -> PlanStage:
    """Plan layers on the shipped base, which stays as it is. 'score' is the share of planned events that are realised: of the
    oracle's plan in the second stage, of the planner's for the scene's timeline in the third."""
    file, encoder = load_weights(FILES["pocket-av"], "pocket-av"), load_text_encoder()
    network, codecs, probes = load_network(), (load_video_codec(), load_audio_codec()), Probes.load()
    cache = plan_cache(job)
    adapted = job.stage == "plan-adapted"
    warm = _goes_on(job, ADD_ONS["pocket-plan"])
    if warm:
        layers = load_plan_layers(network.config, file.sha256)
    else:
        layers = PlanLayers(PlanConfig(*cache.features.map(lambda z: z.shape[-1]).both()), network.config)
        layers.init_weights()
        layers.standardise(cache.moments())

    def judge(network: TwinStreamDiT, encoder: TextEncoder) -> dict[str, float]:
        model = PocketModel(network, encoder, *codecs)
        prompts = bench_prompts(JUDGE_PROMPTS, DEVELOPMENT, strata=AUDIBLE)
        # Half of them with an event moved: the plan is to be kept there too.
        prompts = [edited(p) if i % 2 else p for i, p in enumerate(prompts)]

        def scores(plan: Planning) -> dict[str, float]:
            variant = Variant("judged", PerStreamCFG(2.0, 2.0), plan=plan, anchored=False)
            records = [record for part in chunks(prompts) for record in score_chunk(model, probes, part, variant)]
            return {metric: value.mean for metric, value in summarise(records)["all"].items()}

        found = scores(given if adapted else oracle)
        gap = found["plan_realised"] - scores(shuffled)["plan_realised"]
        return {"score": found["plan_realised"], "gap_to_shuffled": gap, **found}

    path = job.folder / ADD_ONS["pocket-plan"].name
    predicted = predicted_features(load_planner(), cache) if adapted else None
    return PlanStage(
        job.stage,
        cache,
        layers,
        network,
        encoder,
        path,
        recipe=RECIPES["joint"],
        base=file.sha256,
        judge=judge,
        predicted=predicted,
        before=warm,
    )


def prior_cache(job: Job) -> PriorCache:
    """Clips with sounds that do not fit them, made once for each seed and number."""
    return PriorCache.build(
        job.data or job.run / f"prior-{job.seed}-{job.clips}.safetensors",
        seed=job.seed + 201,
        count=job.clips,
        mix=MIX,
        codecs=(load_video_codec(), load_audio_codec()),
        tokenizer=load_text_encoder().tokenizer,
    )


def new_prior(tokens: int) -> PriorNet:
    """An untrained prior of ``tokens`` spatial and as many temporal tokens."""
    net = PriorNet(PriorNetConfig(tuple(vocabulary()), POCKET.video_channels, POCKET.audio_channels, tokens, tokens))
    net.init_weights()
    return net


def _prior(job: Job) -> PriorStage:
    """Encoders of true clips and the estimator."""
    warm = {} if job.tokens else _goes_on(job, ADD_ONS["pocket-prior"])
    net = load_prior_net().requires_grad_(True) if warm else new_prior(job.tokens or PRIOR_TOKENS)
    return PriorStage(prior_cache(job), net, job.folder / ADD_ONS["pocket-prior"].name, judge=judge_prior)


def _prior_layers(job: Job) -> PriorLayersStage:
    """Prior layers on the shipped base. 'score' is the synchrony of clips with the priors of the prompts' own clips."""
    file, encoder, network = load_weights(FILES["pocket-av"], "pocket-av"), load_text_encoder(), load_network()
    net = load_prior_net()
    warm = _goes_on(job, ADD_ONS["pocket-prior-layers"])
    if warm:
        layers = load_prior_layers(network.config, file.sha256)
    else:
        own = net.config
        sizes = PriorLayersConfig(own.spatial, own.temporal, own.channels, own.clip.bins)
        layers = PriorLayers(sizes, network.config)
        layers.init_weights()
        layers.read_as(net.reader)
    codecs, probes = (load_video_codec(), load_audio_codec()), Probes.load()

    def judge(network: TwinStreamDiT, encoder: TextEncoder) -> dict[str, float]:
        model = PocketModel(network, encoder, *codecs)
        variant = Variant("judged", PerStreamCFG(2.0, 2.0), prior=partial(clip_prior, net), anchored=False)
        prompts = bench_prompts(JUDGE_PROMPTS, DEVELOPMENT, strata=AUDIBLE)
        records = [record for part in chunks(prompts) for record in score_chunk(model, probes, part, variant)]
        found = {metric: value.mean for metric, value in summarise(records)["all"].items()}
        return {"score": found["sync_f1"], **found}

    path = job.folder / ADD_ONS["pocket-prior-layers"].name
    return PriorLayersStage(
        prior_cache(job), net, layers, network, encoder, path,
        recipe=RECIPES["joint"], base=file.sha256, judge=judge, before=warm,
    )  # fmt: skip


def adapter_cache(job: Job) -> LatentCache:
    """Clips that the adapter learns from."""
    codecs = (load_video_codec(), load_audio_codec())
    return LatentCache.read(job.data) if job.data else _rendered(job, codecs, load_text_encoder())


def _adapter(job: Job) -> AdapterStage:
    """SAVA's projections, masks and predictors on the frozen codecs."""
    codecs, cache = (load_video_codec(), load_audio_codec()), adapter_cache(job)
    net = MaskedAdapter(AdapterConfig(POCKET.video_channels, POCKET.audio_channels))
    steps = job.steps or PRESETS["adapter"].steps
    path = job.folder / ADD_ONS["pocket-adapter"].name
    return AdapterStage(cache, net, codecs, path, price=Price(), steps=steps, judge=judge_adapter)


def _adapter_layers(job: Job, way: str) -> AdapterLayersStage:
    """phi and LoRA of one way on the shipped base. 'score' is the synchrony of what is made with the given stream."""
    file, encoder, network = load_weights(FILES["pocket-av"], "pocket-av"), load_text_encoder(), load_network()
    adapter = load_weights(ADD_ONS["pocket-adapter"], "pocket-adapter")
    net, codecs, probes = load_adapter(adapter.path), (load_video_codec(), load_audio_codec()), Probes.load()
    config = AdapterLayersConfig(way, net.config.dim, RANK, adapter.sha256)

    def judge(network: TwinStreamDiT, encoder: TextEncoder) -> dict[str, float]:
        model, variant = PocketModel(network, encoder, *codecs), from_clips(net, way)
        prompts = bench_prompts(JUDGE_PROMPTS, DEVELOPMENT, strata=(*AUDIBLE, "silent"))
        records = [record for part in chunks(prompts) for record in score_chunk(model, probes, part, variant)]
        found = {metric: value.mean for metric, value in summarise(records)["all"].items()}
        return {"score": found["sync_f1"], **found}

    return AdapterLayersStage(
        adapter_cache(job), net, AdapterLayers(config, network.config), network, encoder, job.folder / layers_file(way).name,
        base=file.sha256, judge=judge,
    )  # fmt: skip


def _fit_codecs(folder: Path, *, seed: int) -> dict[str, Any]:
    video, audio = (
        VideoCodec(channels=POCKET.video_channels),
        AudioCodec(channels=POCKET.audio_channels, sample_rate=POCKET.sample_rate),
    )
    fit_codecs(
        make_scenes(seed + 1, CODEC_CLIPS),
        ClipShape(),
        (video, audio),
        lambda w: log_mel(w, sample_rate=POCKET.sample_rate),
    )
    record = {"stage": "codecs", "clips": CODEC_CLIPS, "seed": seed}
    parts = (
        ("video-codec", video, video.config),
        ("audio-codec", audio, {"channels": audio.channels, "sample_rate": audio.sample_rate}),
    )
    for kind, codec, config in parts:
        path = folder / FILES[kind].name
        save_weights(path, to_half(codec), kind=kind, config=config, record=record)
        write_card(path)
    return record


def _decoder(codec: VideoCodec) -> VideoCodec:
    """``codec`` with a refiner that learns, new if it has none; its PCA, which fixes the latents, does not."""
    whole = codec if codec.refiner else VideoCodec(channels=codec.channels, **DECODER)
    whole.pca = codec.pca
    if whole.refiner and not codec.refiner:
        nn.init.zeros_(cast(nn.Conv3d, whole.refiner.net[-1]).weight)
    return whole.requires_grad_(True)


def _start(from_scratch: bool) -> tuple[TwinStreamDiT, TextEncoder]:
    """The shipped network and text encoder, ready to learn on, or new ones."""
    if not from_scratch and FILES["pocket-av"].is_file():
        return load_network().requires_grad_(True), load_text_encoder().requires_grad_(True)
    network, encoder = TwinStreamDiT(POCKET), TextEncoder(words=vocabulary(), **TEXT)
    network.init_weights()
    return network, encoder


def _rendered(job: Job, codecs: tuple[VideoCodec, AudioCodec], encoder: TextEncoder) -> LatentCache:
    """The world's scenes, encoded once for each seed, number and codec."""
    mark = zlib.crc32(repr((job.seed, job.clips, MIX, codecs[0].pca.basis.double().sum().item())).encode())
    with PartialState().main_process_first():
        return LatentCache.build(
            job.run / f"latents-{mark:08x}.safetensors",
            seed=job.seed + 1,
            count=job.clips,
            mix=MIX,
            codecs=codecs,
            tokenizer=encoder.tokenizer,
        )


def _judge(
    name: str, recipe: Recipe, codecs: tuple[VideoCodec, AudioCodec]
) -> Callable[[TwinStreamDiT, TextEncoder], dict[str, float]]:
    """Scores on development prompts; 'score' is synchrony, or for one stream alone whether it makes the right kinds."""
    joint = recipe.streams == ("video", "audio")
    strategy = PerStreamCFG() if joint else UnimodalStrategy(PerStreamCFG())
    chosen = "sync_normalised" if joint else {"video": "kind_seen", "audio": "kind_heard"}[recipe.streams[0]]

    def judge(network: TwinStreamDiT, encoder: TextEncoder) -> dict[str, float]:
        model, probes, variant = PocketModel(network, encoder, *codecs), Probes.load(), Variant(name, strategy)
        prompts = bench_prompts(JUDGE_PROMPTS, DEVELOPMENT, strata=AUDIBLE)
        rows = summarise(record for part in chunks(prompts) for record in score_chunk(model, probes, part, variant))
        found = {metric: value.mean for metric, value in rows["all"].items()}
        return {"score": found[chosen], "single_sync": rows["single"]["sync_normalised"].mean, **found}

    return judge
