"""Stages ``video``, ``audio`` and ``joint``: the pocket network and its text encoder."""

from __future__ import annotations

from ...bench.runner import Variant
from ...guidance.modifiers import UnimodalStrategy
from ...guidance.strategy import PerStreamCFG
from ...models.pocket.load import FILES, load_network, load_text_encoder
from ...models.pocket.network import POCKET, TwinStreamDiT
from ...models.pocket.text import TextEncoder
from ...world import vocabulary
from ..data import ClipEncoder, load_codecs
from ..flow import RECIPES, FlowStage, Recipe, start_audio_from_video
from ..judges import NetworkJudge
from .registry import Job, Preset, register
from .sources import latent_cache

TEXT = {"dim": POCKET.text_dim, "depth": 2, "heads": 4}


@register("video", Preset(steps=2000, batch=64, lr=1.2e-3, score_every=1000))
@register("audio", Preset(steps=1000, batch=64, lr=1.2e-3, score_every=500))
@register("joint", Preset(steps=8000, batch=64, lr=1e-3, score_every=1600, lr_factors={"context_attention": 2.0}))
def build(job: Job) -> FlowStage:
    """The flow stage of one or both streams; see ``_judge`` for its score."""
    recipe, codecs = job.recipe or RECIPES[job.stage], load_codecs()
    network, encoder = _start(from_scratch=job.from_scratch)
    if job.audio_from_video:
        start_audio_from_video(network)
    cache = latent_cache(job, ClipEncoder(codecs, encoder.tokenizer))
    return FlowStage(job.stage, cache, network, encoder, job.folder, recipe=recipe, judge=_judge(job.stage, recipe))


def _start(*, from_scratch: bool) -> tuple[TwinStreamDiT, TextEncoder]:
    """The shipped network and text encoder, set to trainable, or new ones."""
    if not from_scratch and FILES["pocket-av"].is_file():
        return load_network().requires_grad_(True), load_text_encoder().requires_grad_(True)
    network, encoder = TwinStreamDiT(POCKET), TextEncoder(words=vocabulary(), **TEXT)
    network.init_weights()
    return network, encoder


def _judge(name: str, recipe: Recipe) -> NetworkJudge:
    """'score' is normalised synchrony; for a single stream, whether the right kinds of things are seen or heard."""
    if recipe.streams == ("video", "audio"):
        return NetworkJudge(Variant(name, PerStreamCFG()), "sync_normalised", single_sync=True)
    chosen = {"video": "kind_seen", "audio": "kind_heard"}[recipe.streams[0]]
    return NetworkJudge(Variant(name, UnimodalStrategy(PerStreamCFG())), chosen, single_sync=True)
