"""Training clips that several stages share: a user's own, or clips of the world, rendered once per seed and number of clips."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from accelerate import PartialState

from ...bench.readings import Probes
from ...core.sizes import ClipShape
from ...models.ltx2.pocket_config import read_file, require_diffusers
from ...world.scene import MIX
from ..data import CacheSpec, ClipEncoder, LatentCache, load_encoder
from ..plan import PlanCache
from ..prior import PriorCache
from .registry import Job

if TYPE_CHECKING:
    from ...models.ltx2.pocket import PocketLTX2


def pocket_ltx2() -> tuple[str, PocketLTX2]:
    """The hash and the network of the pocket LTX-2 that ships, for stages that train on it.

    Raises:
        ValueError: diffusers is not installed, or pocket LTX-2 is not there.
    """
    require_diffusers()
    base = (
        read_file().sha256
    )  # names the command that trains a missing file before diffusers is imported, which takes seconds
    from ...models.ltx2.load import load_pocket_ltx2

    return base, load_pocket_ltx2()


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


def fixed_length_clips(job: Job) -> LatentCache:
    """``latent_cache`` for networks that know one length of clips.

    Raises:
        ValueError: the clips of ``job.data`` have another length.
    """
    cache = latent_cache(job)
    _check_length(job, cache)
    return cache


def plan_cache(job: Job) -> PlanCache:
    """Clips with the probe features that plans are trained towards.

    Raises:
        ValueError: the clips of ``job.data`` have another length than planned clips, or no features.
    """
    if job.data:
        cache = PlanCache.read(job.data)
        _check_length(job, cache.latents)
        return cache
    return PlanCache.build(_spec(job, "plan", offset=101), load_encoder(), Probes.load())


def prior_cache(job: Job) -> PriorCache:
    """Clips, each with audio that does not match its video."""
    return PriorCache.build(_spec(job, "prior", offset=201), load_encoder())


def _spec(job: Job, name: str, *, offset: int) -> CacheSpec:
    return CacheSpec(job.run / f"{name}-{job.seed}-{job.clips}.safetensors", job.seed + offset, job.clips)


def _check_length(job: Job, cache: LatentCache) -> None:
    frames, shape = cache.video.shape[2], ClipShape()
    if frames != shape.video_latent[0]:
        raise ValueError(
            f"{job.data} holds segments of {frames} latent frames; {job.stage} needs {shape.video_latent[0]}. Encode the "
            f"clips again with 'duet data --seconds {shape.seconds:g}'."
        )
