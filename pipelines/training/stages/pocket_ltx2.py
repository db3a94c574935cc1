"""Stage ``pocket-ltx2``: LTX-2's architecture at pocket size on the pocket latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...bench.runner import Variant
from ...guidance.strategy import PerStreamCFG
from ...media.provenance import file_hash
from ...models.ltx2.pocket_config import FoldedVideoCodec, PocketLTX2Config, ScaledAudioCodec, require_diffusers
from ...models.pocket.load import FILES, load_text_encoder
from ..data import ClipEncoder, load_codecs
from ..judges import NetworkJudge
from .registry import Job, Preset, register
from .sources import latent_cache

if TYPE_CHECKING:
    from ..ltx2 import LTX2Stage


@register("pocket-ltx2", Preset(steps=3500, batch=32, lr=1e-3, score_every=1000))
def build(job: Job) -> LTX2Stage:
    """The stage; its score is normalised synchrony with plain CFG.

    Raises:
        ValueError: diffusers is not installed.
    """
    require_diffusers()
    from ...models.ltx2.pocket import PocketLTX2
    from ..ltx2 import LTX2Stage, deviations

    codecs, encoder = load_codecs(), load_text_encoder()
    cache = latent_cache(job, ClipEncoder(codecs, encoder.tokenizer))
    scales = deviations(cache.video), deviations(cache.audio)
    scaled = FoldedVideoCodec(codecs[0], scales[0]), ScaledAudioCodec(codecs[1], scales[1])
    judge = NetworkJudge(Variant(job.stage, PerStreamCFG()), "sync_normalised", single_sync=True, codecs=scaled)
    network = PocketLTX2(PocketLTX2Config(video_scale=scales[0], audio_scale=scales[1]))
    return LTX2Stage(cache, network, encoder, job.folder, judge=judge, text_hash=file_hash(FILES["pocket-text"]))
