"""Which guidance branches a MODEL supports, and how each is evaluated. The host's options are copied, never modified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from ...pipelines.core.streams import Streams
from ...pipelines.guidance.strategy import Branch
from ...pipelines.models.addons.plan import PlanLayers
from ...pipelines.models.pocket.denoiser import route_of
from ..types import TIMED
from .context import ROUTES as CONTEXT_ROUTES
from .context import has_context
from .javisdit import JavisModel
from .joint import CROSSES, JointModel
from .latent import Layout, require_layout
from .ltx2_layers import installed
from .model import PocketBaseModel
from .timed_h3 import ROUTES
from .timed_h3 import STREAMS as H3_STREAMS

Conds = list[dict[str, Any]]
Options = dict[str, Any]
UNTRAINED = "untrained null; effect not measured by us"


@dataclass(frozen=True)
class Backbone:
    """How one family of models closes a cross-modal direction."""

    null: str  # what replaces the other stream in a closed direction, as shown in the user interface
    tokens: bool  # whether the model has learnt context tokens
    sever: Callable[[Branch, Conds, Options], tuple[Conds, Options]] | None
    together: bool = False  # whether all branches can share one batched call
    layout: Callable[[Any], Layout] | None = None  # of the latents, from the model
    title: str = ""
    plans: bool = False  # whether the model has layers that read a plan

    def require(self, branches: Sequence[Branch]) -> None:
        """Raise ValueError for a branch that the model does not support, before sampling starts."""
        for branch in branches:
            if not branch.plan and not self.plans:
                raise ValueError(
                    "'Duet Strategy: Plan' changes the strength of a plan, and this MODEL has no layers that read a plan. Use "
                    "the MODEL of 'Duet Load Planner', or remove 'Duet Strategy: Plan'."
                )
            if branch.a2v and branch.v2a:
                continue
            if self.sever is None:
                raise ValueError(
                    "This strategy needs cross-modal attention that can be switched off, which this model does not have. "
                    "Use it with the Duet pocket model, JavisDiT, LTX-2 or MiniMax H3, or choose 'Duet Strategy: CFG'."
                )
            if not branch.masked and not self.tokens:
                raise ValueError(
                    "UCG needs learnt context tokens, and this model has none. "
                    "Choose 'Duet Strategy: Cross-Modal' (an untrained null) or 'Duet Strategy: CFG'; for LTX-2 they can be trained with "
                    "'duet train context-tokens'."
                )


def _route(branch: Branch, conds: Conds, options: Options) -> tuple[Conds, Options]:
    """Pocket model: the route is a condition, so that all branches can share a batch."""
    route = {"route": CONDRegular(torch.tensor([route_of(branch)]))}
    return [{**cond, "model_conds": {**cond["model_conds"], **route}} for cond in conds], options


def _without_plan(conds: Conds) -> Conds:
    """Conditions whose plan is hidden, which is a value of its own for each row of a batch."""
    hidden = CONDRegular(torch.zeros(1, 1))
    return [
        {**cond, "model_conds": {name: hidden if name in PLAN_SHOWN else z for name, z in cond["model_conds"].items()}}
        for cond in conds
    ]


def with_routes_of(positive: Conds, negative: Conds) -> Conds:
    """``negative`` with the routes of ``positive``, which its timed text closed around events of one stream alone: guidance compares texts
    at equal routes."""
    routes = {name: z for cond in positive[:1] for name, z in cond["model_conds"].items() if name in CROSSES}

    def with_routes(conds: dict[str, Any]) -> dict[str, Any]:
        return {**{name: z for name, z in conds.items() if name not in CROSSES}, **routes}

    return [{**cond, "model_conds": with_routes(cond["model_conds"])} for cond in negative]


def _switch_off(branch: Branch, conds: Conds, options: Options) -> tuple[Conds, Options]:
    """LTX-2 and JavisDiT: options that switch off either cross-attention."""
    switches = {"a2v_cross_attn": branch.a2v, "v2a_cross_attn": branch.v2a}
    return conds, {**options, "transformer_options": {**options.get("transformer_options", {}), **switches}}


def _read_tokens(branch: Branch, conds: Conds, options: Options) -> tuple[Conds, Options]:
    """LTX-2 with context tokens: a closed direction reads them alone, unless the branch is masked."""
    if branch.masked:
        return _switch_off(branch, conds, options)
    routes = {CONTEXT_ROUTES: (branch.a2v, branch.v2a)}
    return conds, {**options, "transformer_options": {**options.get("transformer_options", {}), **routes}}


def _split_queries(branch: Branch, conds: Conds, options: Options) -> tuple[Conds, Options]:
    """MiniMax H3: joint self-attention, split by stream for sequences of the conditions' lengths. Conditions with timed text are split by
    their own hook, which reads the open directions from the options."""
    layouts = {}
    for cond in conds:
        payload = cond["model_conds"]["minimax_payload"].cond
        layout = payload.get("layout")
        if layout is None:
            raise ValueError(
                "MiniMax H3 is sampled with one stream; cross-modal guidance needs an audio-video latent. Connect one."
            )
        if TIMED in payload:
            continue
        segments = [(a, b, H3_STREAMS.get(kind, "text")) for a, b, kind in layout.segments]
        if layouts.setdefault(layout.seq_len, segments) != segments:
            raise ValueError(
                "Two conditions of equal length have their references in different orders. Use only one of them."
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

    routes = {ROUTES: (branch.a2v, branch.v2a), "optimized_attention_override": override}
    return conds, {**options, "transformer_options": {**transformer, **routes}}


def _layout(model: JointModel) -> Layout:
    return model.layout


def _ltx_layout(model: comfy.model_base.BaseModel) -> Layout:
    network = model.diffusion_model
    return Streams((network.in_channels, 5), (network.num_audio_channels, 4))


def _h3_layout(model: comfy.model_base.BaseModel) -> Layout:
    network = model.diffusion_model
    return Streams((network.latents_dim, 5), (network.audio_latents_dim, 4))


LEARNT = "learnt context tokens"
POCKET = Backbone(LEARNT, tokens=True, sever=_route, together=True, layout=_layout)
NONE = Backbone("none", tokens=False, sever=None)
BACKBONES = {
    PocketBaseModel: POCKET,
    JavisModel: Backbone(UNTRAINED, tokens=False, sever=_switch_off, layout=_layout),
    getattr(comfy.model_base, "LTXAV", None): Backbone(
        UNTRAINED, tokens=False, sever=_switch_off, layout=_ltx_layout, title="LTX-2"
    ),
    getattr(comfy.model_base, "MiniMaxH3", None): Backbone(
        UNTRAINED, tokens=False, sever=_split_queries, layout=_h3_layout, title="MiniMax H3"
    ),
}


def backbone_of(model: comfy.model_base.BaseModel, options: Options) -> Backbone:
    """The backbone of ``model``, by its class and by the add-ons that its MODEL's ``options`` name. Families that this ComfyUI
    version does not have are skipped."""
    found = next((b for family, b in BACKBONES.items() if family is not None and isinstance(model, family)), NONE)
    found = replace(found, plans=getattr(model, "plans", False) or PlanLayers.NAME in installed(options))
    return replace(found, null=LEARNT, tokens=True, sever=_read_tokens) if has_context(options) else found


def require_latent(model: comfy.model_base.BaseModel, samples: Any) -> None:
    """Check that the streams of a LATENT's ``samples`` are of the kind that ``model`` samples; other families are not checked.

    Raises:
        ValueError: a stream has other channels or dimensions.
    """
    backbone = backbone_of(model, {})
    if backbone.layout is not None:
        streams = samples.unbind() if getattr(samples, "is_nested", False) else [samples]
        title = getattr(model, "title", backbone.title)
        require_layout(title, backbone.layout(model), [tuple(stream.shape) for stream in streams])


def evaluate(
    model: comfy.model_base.BaseModel,
    branches: Sequence[Branch],
    conds: dict[bool, Conds],
    x: Tensor,
    timestep: Tensor,
    options: Options,
) -> list[Tensor]:
    """x0 of each branch in the host's packed form; ``conds`` by whether they are the text. Calls are shared where they can be."""
    backbone = backbone_of(model, options)
    calls: dict[Any, list[tuple[int, Conds, Options]]] = {}
    for i, branch in enumerate(branches):
        whole, row, opts = branch.a2v and branch.v2a and branch.plan, conds[branch.text], options
        if not branch.plan:
            row = _without_plan(row)
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
    """The host's batched evaluation, or the function with which another node has replaced it."""
    custom = options.get("sampler_calc_cond_batch_function")
    if custom is not None:
        return custom({"conds": conds, "input": x, "sigma": timestep, "model": model, "model_options": options})
    return comfy.samplers.calc_cond_batch(model, conds, x, timestep, options)
