"""How stages are scored during training: on development prompts and scenes; the entry 'score' selects the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ..bench.adapter_masks import mask_quality
from ..bench.prior_knowledge import knowledge, mismatched_audio
from ..bench.prompts import AUDIBLE, DEVELOPMENT, Prompt, bench_prompts
from ..bench.readings import Probes, true_latents
from ..bench.runner import Variant, chunks, score_chunk, summarise
from ..core.sizes import ClipShape, segments
from ..models.adapter.net import MaskedAdapter
from ..models.backbone import Backbone
from ..models.pocket.codecs import FrameCodec, SoundCodec
from ..models.pocket.load import PocketModel
from ..models.pocket.text import TextEncoder
from ..models.prior.net import PriorNet
from ..world import make_scenes
from ..world.scene import MIX
from .adapter import sufficiency
from .data import load_codecs

Codecs = tuple[FrameCodec, SoundCodec]
JUDGE_PROMPTS = 100  # thousandths of the bench's prompt list
PRIOR_CLIPS = 256
MASKED_CLIPS, MASKED_MIX = 192, {"muted": 0.4, "offscreen": 0.4, "single": 0.2}


@dataclass(frozen=True)
class NetworkJudge:
    """Means of the bench's metrics over clips that a network generates as ``variant`` says; the metric ``chosen`` is the 'score'."""

    variant: Variant
    chosen: str
    strata: tuple[str, ...] = AUDIBLE
    single_sync: bool = False  # also report normalised synchrony on the prompts with a single subject
    codecs: Codecs = field(default_factory=load_codecs)
    probes: Probes = field(default_factory=Probes.load)

    def __call__(
        self, network: Backbone, encoder: TextEncoder, prompts: Sequence[Prompt] | None = None
    ) -> dict[str, float]:
        model = PocketModel(network, encoder, *self.codecs)
        if prompts is None:
            prompts = bench_prompts(JUDGE_PROMPTS, DEVELOPMENT, strata=self.strata)
        rows = summarise(r for part in chunks(prompts) for r in score_chunk(model, self.probes, part, self.variant))
        found = {metric: value.mean for metric, value in rows["all"].items()}
        single = {"single_sync": rows["single"]["sync_normalised"].mean} if self.single_sync else {}
        return {"score": found[self.chosen], **single, **found}


def judge_prior(net: PriorNet) -> dict[str, float]:
    """Information in the tokens about held-out clips; 'score' is the F1 of the layouts (where and when) read from them."""
    scenes = make_scenes(DEVELOPMENT, PRIOR_CLIPS, mix=MIX, split="test")
    codecs = load_codecs()
    latents = true_latents(codecs, scenes, ClipShape())
    rows = knowledge(net, scenes, latents, mismatched_audio(scenes, codecs[1]))
    found = {name: fmean(row[name] for row in rows) for name in rows[0]}
    return {"score": found["layout_f1"], **found}


def judge_adapter(net: MaskedAdapter, *, seconds: float = 2.0) -> dict[str, float]:
    """Quality of the masks on each segment of clips of ``seconds`` with muted sources and off-screen sounds; 'score' is the mean AUROC
    of both masks."""
    codecs = load_codecs()
    scenes = make_scenes(DEVELOPMENT, MASKED_CLIPS, mix=MASKED_MIX, split="test", seconds=seconds)
    latents = true_latents(codecs, scenes, ClipShape(seconds=seconds))
    found = mask_quality(net, scenes, latents) | sufficiency(net, codecs, segments(latents, net.frames))
    return {"score": (found["auroc_video"] + found["auroc_audio"]) / 2, **found}
