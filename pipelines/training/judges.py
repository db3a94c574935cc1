"""How what is not the flow itself is judged while it learns: on development scenes, by the entry 'score'."""

from __future__ import annotations

from statistics import fmean

from ..bench.adapter_masks import mask_quality
from ..bench.prior_knowledge import knowledge, other_sounds
from ..bench.prompts import DEVELOPMENT
from ..bench.readings import true_latents
from ..core.sizes import ClipShape, segments
from ..models.adapter.net import MaskedAdapter
from ..models.pocket.load import load_audio_codec, load_video_codec
from ..models.prior.net import PriorNet
from ..world import make_scenes
from ..world.scene import MIX
from .adapter import sufficiency

PRIOR_CLIPS = 256
MASKED_CLIPS, MASKED_MIX = 192, {"muted": 0.4, "offscreen": 0.4, "single": 0.2}


def judge_prior(net: PriorNet) -> dict[str, float]:
    """What its tokens know of clips that it has not learnt from; 'score' is how well where and when are read."""
    scenes = make_scenes(DEVELOPMENT, PRIOR_CLIPS, mix=MIX, split="test")
    codecs = (load_video_codec(), load_audio_codec())
    latents = true_latents(codecs, scenes, ClipShape())
    rows = knowledge(net, scenes, latents, other_sounds(scenes, codecs[1]))
    found = {name: fmean(row[name] for row in rows) for name in rows[0]}
    return {"score": found["layout_f1"], **found}


def judge_adapter(net: MaskedAdapter, *, seconds: float = 2.0) -> dict[str, float]:
    """What its masks say, segment by segment, of clips of ``seconds`` with muted sources and sounds from off screen; 'score' is the mean
    AUROC of both."""
    codecs = (load_video_codec(), load_audio_codec())
    scenes = make_scenes(DEVELOPMENT, MASKED_CLIPS, mix=MASKED_MIX, split="test", seconds=seconds)
    latents = true_latents(codecs, scenes, ClipShape(seconds=seconds))
    found = mask_quality(net, scenes, latents) | sufficiency(net, codecs, segments(latents, net.frames))
    return {"score": (found["auroc_video"] + found["auroc_audio"]) / 2, **found}
