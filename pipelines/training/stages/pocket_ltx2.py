"""Stage ``pocket-ltx2``: LTX-2's architecture at pocket size on the pocket latents."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from ...bench.runner import Variant
from ...guidance.strategy import PerStreamCFG
from ...models.pocket.load import load_text_encoder
from ..data import ClipEncoder, load_codecs
from ..judges import NetworkJudge
from .registry import Job, Preset, register
from .sources import latent_cache

if TYPE_CHECKING:
    from ..ltx2 import LTX2Stage


@register("pocket-ltx2", Preset(steps=3000, batch=32, lr=1e-3, score_every=1000))
def build(job: Job) -> LTX2Stage:
    """The stage; its score is normalised synchrony with plain CFG.

    Raises:
        ValueError: diffusers is not installed.
    """
    if find_spec("diffusers") is None:
        raise ValueError(
            "Training pocket-ltx2 needs the package diffusers, which the extra [ltx2] installs. In the pack's folder, run: "
            'pip install -e ".[ltx2]"'
        )
    from ...models.ltx2.pocket import PocketLTX2, PocketLTX2Config, ScaledCodec
    from ..ltx2 import LTX2Stage, deviations

    codecs, encoder = load_codecs(), load_text_encoder()
    cache = latent_cache(job, ClipEncoder(codecs, encoder.tokenizer))
    scales = deviations(cache.video), deviations(cache.audio)
    scaled = ScaledCodec(codecs[0], scales[0]), ScaledCodec(codecs[1], scales[1])
    # The judge only calls what PocketLTX2 and ScaledCodec share with the pocket network and its codecs.
    judge: Any = NetworkJudge(
        Variant(job.stage, PerStreamCFG()), "sync_normalised", single_sync=True, codecs=cast(Any, scaled)
    )
    network = PocketLTX2(PocketLTX2Config(video_scale=scales[0], audio_scale=scales[1]))
    return LTX2Stage(cache, network, encoder, job.folder, judge=judge)
