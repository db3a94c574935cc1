"""Which branches a host's MODEL can answer, and how each is put to it. The host's options are copied, never changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid5

import comfy.model_base
import comfy.samplers
import torch
from comfy.conds import CONDRegular
from torch import Tensor

from ...kernels.segment_attention import SegmentSplit, segment_attention
from ...pipelines.core.conditions import PLAN_SHOWN
from ...pipelines.guidance.strategy import Branch
from ...pipelines.models.pocket.denoiser import route_of
from .javisdit import JavisModel
from .model import PocketBaseModel

Conds = list[dict[str, Any]]
Options = dict[str, Any]
UNTRAINED = "untrained null; effect not measured by us"
# Rows of MiniMax H3's sequence: guides and references belong to the stream they are of.
H3_STREAMS = {"video": "video", "cond": "video", "ref_img": "video"} | dict.fromkeys(
    ("audio", "cond_audio", "ref_audio"), "audio"
)


@dataclass(frozen=True)
class Backbone:
    """How one family of models closes a cross-modal direction."""

    null: str  # what answers in place of the closed direction, as the interface shows it
    tokens: bool  # whether learnt context tokens can answer
    sever: Callable[[Branch, Conds, Options], tuple[Conds, Options]] | None
    together: bool = False  # whether all branches can share one call of the host's batcher

    def require(self, branches: Sequence[Branch]) -> None:
        """Refuse what this model cannot answer, before anything is sampled."""
        for branch in branches:
            if not branch.plan and not self.tokens:
                raise ValueError(
                    "This strategy compares with having no plan, and this model reads none. Take the plan scale out."
                )
            if branch.a2v and branch.v2a:
                continue
            if self.sever is None:
                raise ValueError(
                    "This strategy closes a direction between sound and picture, and this model has none that can be closed. "
                    "Use it with the Duet pocket model, JavisDiT, LTX-2 or MiniMax H3, or choose 'Duet Strategy: CFG'."
                )
            if not branch.masked and not self.tokens:
                raise ValueError(
                    "UCG compares with learnt context tokens, and this model has none. "
                    "Choose 'Duet Strategy: Cross-Modal' (an untrained null) or 'Duet Strategy: CFG'."
                )


def _route(branch: Branch, conds: Conds, options: Options) -> tuple[Conds, Options]:
    """Pocket: route and plan are conditions, so that every branch can share a batch."""
    given = {"route": CONDRegular(torch.tensor([route_of(branch)]))}
    hide = {} if branch.plan else dict.fromkeys(PLAN_SHOWN, CONDRegular(torch.zeros(1, 1)))
    rows = []
    for cond in conds:
        own = cond["model_conds"]
        hidden = {name: value for name, value in hide.items() if name in own}
        rows.append({**cond, "model_conds": {**own, **given, **hidden}})
    return rows, options


def _switch_off(branch: Branch, conds: Conds, options: Options) -> tuple[Conds, Options]:
    """LTX-2: its own switches of the two cross-attentions. JavisDiT, as we host it, has the same."""
    switches = {"a2v_cross_attn": branch.a2v, "v2a_cross_attn": branch.v2a}
    return conds, {**options, "transformer_options": {**options.get("transformer_options", {}), **switches}}


def _split_queries(branch: Branch, conds: Conds, options: Options) -> tuple[Conds, Options]:
    """MiniMax H3: joint self-attention, split by stream wherever the sequence is one of the conditions' own."""
    layouts = {}
    for cond in conds:
        layout = cond["model_conds"]["minimax_payload"].cond.get("layout")
        if layout is None:
            raise ValueError("MiniMax H3 has one stream here; its directions need a joint audio-video latent.")
        segments = [(a, b, H3_STREAMS.get(kind, "text")) for a, b, kind in layout.segments]
        if layouts.setdefault(layout.seq_len, segments) != segments:
            raise ValueError(
                "Two conditions of one length have their references in another order; guide with one of them."
            )
    splits = {n: SegmentSplit.of(s, a2v=branch.a2v, v2a=branch.v2a) for n, s in layouts.items()}
    transformer = options.get("transformer_options", {})
    other = transformer.get("optimized_attention_override")

    def override(
        attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        inner = attention if other is None else partial(other, attention)

        def attend(*qkv: Tensor) -> Tensor:
            return inner(*qkv, *args, **kwargs)

        split = splits.get(q.shape[-2])
        return attend(q, k, v) if split is None else segment_attention(attend, q, k, v, split)

    return conds, {**options, "transformer_options": {**transformer, "optimized_attention_override": override}}


POCKET = Backbone("learnt context tokens", tokens=True, sever=_route, together=True)
NONE = Backbone("none", tokens=False, sever=None)
BACKBONES = {
    PocketBaseModel: POCKET,
    JavisModel: Backbone(UNTRAINED, tokens=False, sever=_switch_off),
    getattr(comfy.model_base, "LTXAV", None): Backbone(UNTRAINED, tokens=False, sever=_switch_off),
    getattr(comfy.model_base, "MiniMaxH3", None): Backbone(UNTRAINED, tokens=False, sever=_split_queries),
}


def backbone_of(model: comfy.model_base.BaseModel) -> Backbone:
    """How ``model`` is severed; by its class, so that a host without a family simply lacks it."""
    return next((b for family, b in BACKBONES.items() if family is not None and isinstance(model, family)), NONE)


def evaluate(
    model: comfy.model_base.BaseModel,
    branches: Sequence[Branch],
    conds: dict[bool, Conds],
    x: Tensor,
    timestep: Tensor,
    options: Options,
) -> list[Tensor]:
    """x0 of each branch in the host's packed form; ``conds`` by whether they are the text. Calls are shared where they can be."""
    backbone = backbone_of(model)
    calls: dict[Any, list[tuple[int, Conds, Options]]] = {}
    for i, branch in enumerate(branches):
        whole, row, opts = branch.a2v and branch.v2a and branch.plan, conds[branch.text], options
        if not whole and backbone.sever is not None:
            row, opts = backbone.sever(branch, row, opts)
            # Cache nodes recognise a condition by its uuid and would answer a closed branch with the open one's prediction.
            row = [{**cond, "uuid": uuid5(cond["uuid"], repr(branch))} for cond in row]
        calls.setdefault("shared" if whole or backbone.together else i, []).append((i, row, opts))
    answers: dict[int, Tensor] = {}
    for call in calls.values():
        rows, opts = [row for _, row, _ in call], call[0][2]
        answers |= zip((i for i, *_ in call), _batch(model, rows, x, timestep, opts), strict=True)
    return [answers[i] for i in range(len(branches))]


def _batch(model: Any, conds: list[Conds], x: Tensor, timestep: Tensor, options: Options) -> list[Tensor]:
    """The host's batcher, or what another node has put in its place."""
    custom = options.get("sampler_calc_cond_batch_function")
    if custom is not None:
        return custom({"conds": conds, "input": x, "sigma": timestep, "model": model, "model_options": options})
    return comfy.samplers.calc_cond_batch(model, conds, x, timestep, options)
