"""The stages of the pocket model as ``duet train`` runs them, each with its own defaults. Presets are data."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from ..generate import DEFAULT_STEPS
from ..guidance import PerStreamCFG
from ..metrics.bench import Probes, measure
from ..models.pocket.codec import AudioCodec, VideoCodec, log_mel
from ..models.pocket.load import FILES, PocketModel, load_audio_codec, load_network, load_text_encoder, load_video_codec
from ..models.pocket.network import POCKET, TwinStreamDiT
from ..models.pocket.text import TextEncoder
from ..shapes import ClipShape
from ..weights import WEIGHTS, halved, save_weights
from ..world import make_scenes, vocabulary
from .card import write_card
from .data import LatentCache, fit_codecs
from .flow import FlowStage
from .loop import Settings, Stage, train
from .probes import AudioProbeStage, VideoProbeStage

CODEC_CLIPS = 1024
JUDGE_PROMPTS = 50
JUDGE_SEED = 500  # the development list; the bench's default list is another
FLOW_MIX = {"single": 0.8, "muted": 0.1, "offscreen": 0.1}
TEXT = {"dim": POCKET.text_dim, "depth": 2, "heads": 4}


@dataclass(frozen=True)
class Preset:
    """A stage's usual length, batch and peak learning rate."""

    steps: int
    batch: int
    lr: float
    score_every: int


PRESETS = {
    "audio-probe": Preset(steps=900, batch=32, lr=2e-3, score_every=150),
    "video-probe": Preset(steps=1200, batch=16, lr=2e-3, score_every=150),
    "flow": Preset(steps=1800, batch=64, lr=1.2e-3, score_every=900),
}


def run_stage(
    name: str,
    *,
    run: Path,
    folder: Path | None,
    steps: int | None,
    batch: int | None,
    lr: float | None,
    clips: int,
    seed: int,
    from_scratch: bool,
) -> dict[str, Any]:
    """Train stage ``name`` and write its weights to ``folder`` (default: the pack's own); returns its record."""
    folder = folder or WEIGHTS
    folder.mkdir(parents=True, exist_ok=True)
    if name == "codecs":
        return _fit_codecs(folder, seed=seed)
    preset = PRESETS[name]
    settings = Settings(
        steps=steps or preset.steps,
        batch=batch or preset.batch,
        lr=lr or preset.lr,
        run=run,
        seed=seed,
        score_every=preset.score_every,
    )
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    stage: Stage
    if name == "flow":
        stage = _flow(folder, run, clips=clips, seed=seed, from_scratch=from_scratch)
    elif name == "audio-probe":
        stage = AudioProbeStage(load_audio_codec(), folder / "pocket-audio-probe.safetensors")
    else:
        stage = VideoProbeStage(load_video_codec(), folder / "pocket-video-probe.safetensors")
    return train(stage, settings)


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
        ("video-codec", video, {"channels": video.channels}),
        ("audio-codec", audio, {"channels": audio.channels, "sample_rate": audio.sample_rate}),
    )
    for kind, codec, config in parts:
        path = folder / FILES[kind].name
        save_weights(path, halved(codec), kind=kind, config=config, record=record)
        write_card(path)
    return record


def _flow(folder: Path, run: Path, *, clips: int, seed: int, from_scratch: bool) -> FlowStage:
    codecs = load_video_codec(), load_audio_codec()
    if from_scratch or not FILES["pocket-av"].is_file():
        network, encoder = TwinStreamDiT(POCKET), TextEncoder(words=vocabulary(), **TEXT)
        network.init_weights()
    else:
        network, encoder = load_network().requires_grad_(True), load_text_encoder().requires_grad_(True)
    mark = zlib.crc32(repr((seed, clips, FLOW_MIX, FILES["video-codec"].stat().st_size)).encode())
    with PartialState().main_process_first():
        cache = LatentCache.build(
            run / f"latents-{mark:08x}.safetensors",
            seed=seed + 1,
            count=clips,
            mix=FLOW_MIX,
            codecs=codecs,
            tokenizer=encoder.tokenizer,
        )

    def judge(network: TwinStreamDiT, encoder: TextEncoder) -> dict[str, float]:
        model = PocketModel(network, encoder, *codecs)
        scores = measure(
            model, Probes.load(), prompts=JUDGE_PROMPTS, seed=JUDGE_SEED, strategy=PerStreamCFG(), steps=DEFAULT_STEPS
        )
        return {"score": scores["sync_normalised"].mean, **{name: value.mean for name, value in scores.items()}}

    return FlowStage(cache, network, encoder, folder, judge=judge)
