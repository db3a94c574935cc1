"""Training clips and codecs that several stages share: each cache is rendered once per seed and number of clips."""

from __future__ import annotations

import zlib

from accelerate import PartialState

from ...bench.readings import Probes
from ...models.pocket.load import load_text_encoder
from ...world.scene import MIX
from ..data import CacheSpec, ClipEncoder, LatentCache, load_codecs
from ..plan import PlanCache
from ..prior import PriorCache
from .registry import Job


def load_encoder() -> ClipEncoder:
    """The shipped codecs and tokenizer."""
    return ClipEncoder(load_codecs(), load_text_encoder().tokenizer)


def latent_cache(job: Job, encoder: ClipEncoder | None = None) -> LatentCache:
    """The clips of ``job.data``, or scenes of the world encoded once for each seed, number of clips and codec."""
    if job.data:
        return LatentCache.read(job.data)
    encoder = encoder or load_encoder()
    basis = encoder.codecs[0].pca.basis.double().sum().item()
    mark = zlib.crc32(repr((job.seed, job.clips, MIX, basis)).encode())
    with PartialState().main_process_first():
        return LatentCache.build(
            CacheSpec(job.run / f"latents-{mark:08x}.safetensors", job.seed + 1, job.clips), encoder
        )


def plan_cache(job: Job) -> PlanCache:
    """Clips with the probe features that plans are trained towards."""
    return PlanCache.build(_spec(job, "plan", offset=101), load_encoder(), Probes.load())


def prior_cache(job: Job) -> PriorCache:
    """Clips, each with audio that does not match its video."""
    return PriorCache.build(_spec(job, "prior", offset=201), load_encoder())


def _spec(job: Job, name: str, *, offset: int) -> CacheSpec:
    path = job.data or job.run / f"{name}-{job.seed}-{job.clips}.safetensors"
    return CacheSpec(path, job.seed + offset, job.clips)
