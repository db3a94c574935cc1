"""Stages ``timed`` and ``pocket-ltx2-timed``: LoRA with which a frozen network reads timed text."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from ...bench.prompts import DEVELOPMENT
from ...bench.readings import Probes, read
from ...bench.scores import Scores
from ...bench.suites.timed import BATCH, request_of, timed_cases, timed_scores
from ...core.sizes import ClipShape
from ...core.streams import Streams
from ...core.timed_events import BOTH
from ...core.weights import load_weights
from ...models.backbone import Backbone
from ...models.ltx2.pocket_config import TIMED_FILE, TIMED_KIND, scaled_codecs
from ...models.pocket.codecs import FrameCodec, SoundCodec
from ...models.pocket.generate import generate
from ...models.pocket.load import ADD_ONS, FILES, PocketModel, load_network, load_text_encoder
from ...models.pocket.text import TextEncoder
from ...world import Scene
from ...world.edit import irregular, separated
from ..data import CacheSpec, LatentCache, encoded, load_codecs, load_encoder
from ..flow import RECIPES
from ..timed import PocketTimedStage
from .registry import Job, Preset, register
from .sources import pocket_ltx2

if TYPE_CHECKING:
    from ..ltx2 import LTX2TimedStage

RANK, CASES, STEPS = 32, 40, 12  # of LoRA; development cases; steps with which they are generated
ASKED = {"timed": BOTH, "sound": ("audio",)}  # variants of the bench, and the streams in which they ask for events


@register("timed", Preset(steps=1000, batch=48, lr=2e-3, score_every=300))
def build(job: Job) -> PocketTimedStage:
    """See ``TimedJudge`` for the score."""
    file, encoder, network = load_weights(FILES["pocket-av"], "pocket-av"), load_text_encoder(), load_network()
    scenes, latents = timed_clips(job)
    path, judge = job.folder / ADD_ONS["pocket-timed"].name, TimedJudge(load_codecs())
    return PocketTimedStage(
        scenes, latents, network, encoder, path, rank=RANK, recipe=RECIPES["joint"], base=file.sha256, judge=judge
    )


@register(TIMED_KIND, Preset(steps=1200, batch=32, lr=2e-3, score_every=300))
def build_ltx2(job: Job) -> LTX2TimedStage:
    """The same on the pocket LTX-2 that ships, with its default guidance.

    Raises:
        ValueError: diffusers is not installed, or pocket LTX-2 is not there.
    """
    base, network = pocket_ltx2()
    from ..ltx2 import RECIPE, LTX2TimedStage

    scenes, latents = timed_clips(job)
    judge = TimedJudge(scaled_codecs(network.config, *load_codecs()))
    return LTX2TimedStage(
        scenes, latents, network, load_text_encoder(), job.folder / TIMED_FILE.name,
        rank=RANK, recipe=RECIPE, base=base, judge=judge,
    )  # fmt: skip


def timed_clips(job: Job) -> tuple[list[Streams[Scene]], LatentCache]:
    """Scenes of the world and their clips. Two thirds have irregular times, which nothing but the windows tells; in half, some events are
    only seen or only heard, or the objects do nothing (see ``separated``)."""
    spec = CacheSpec(job.run / f"timed-separated-{job.seed}-{job.clips}.safetensors", job.seed + 301, job.clips)
    pairs = [separated(scene if k % 3 == 0 else irregular(scene)) for k, scene in enumerate(spec.scenes())]
    seen, heard = zip(*(pair.both() for pair in pairs), strict=True)
    return pairs, LatentCache.of(encoded(spec.path, seen, load_encoder(), heard=heard))


class TimedJudge:
    """Hits and false events of clips with timed text on development cases (see ``bench.suites.timed``), with events in both streams and in
    the audio alone. 'score' is the share of hits minus a tenth of the false events of a clip, averaged over both."""

    def __init__(self, codecs: tuple[FrameCodec, SoundCodec]) -> None:
        self.cases, self.probes, self.codecs = timed_cases(CASES, DEVELOPMENT), Probes.load(), codecs

    def __call__(self, network: Backbone, encoder: TextEncoder) -> dict[str, float]:
        model = PocketModel(network, encoder, *self.codecs)
        found: dict[str, list[Scores]] = {variant: [] for variant in ASKED}
        for start in range(0, len(self.cases), BATCH):
            cases = self.cases[start : start + BATCH]
            for variant, streams in ASKED.items():
                request = replace(request_of(variant, cases, ClipShape()), steps=STEPS)
                readings = read(self.probes, generate(model, request, batch=BATCH))
                found[variant] += [timed_scores(c, r, streams) for c, r in zip(cases, readings, strict=True)]
        means = {
            f"{variant}_{name}": fmean(scores[name] for scores in part)
            for variant, part in found.items()
            for name in ("hit_asked", "false_events")
        }
        scores = [means[f"{variant}_hit_asked"] - means[f"{variant}_false_events"] / 10 for variant in ASKED]
        return {"score": fmean(scores), **means}
