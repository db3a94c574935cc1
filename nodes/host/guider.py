"""Guidance strategies as the host's GUIDER, and cross-modal guidance as a hook after the host's own guidance."""

from __future__ import annotations

import logging
import math
from typing import Any

import comfy.model_patcher
import comfy.samplers
import comfy.utils
import torch
from torch import Tensor

from ...pipelines.core.streams import Latents, Streams
from ...pipelines.guidance.strategy import PLAIN, UCG, Branch, Strategy
from ..types import PLAN, TIMED
from .branches import backbone_of, evaluate, require_latent, with_routes_of
from .notice import sampler_warning
from .timed_node import reads_timed_text

CARRIES = "duet_cross_modal"  # set in transformer_options of a MODEL that has the cross-modal hook
MODALITY, STG = (
    "LTXVModalityGuidance",
    "LTXVSpatioTemporalGuidance",
)  # nodes of the host that add a pass after any guidance
Shapes = list[tuple[int, ...]]


def unpack(z: Tensor, shapes: Shapes) -> Latents:
    """The streams of a packed latent; a latent that is not nested is a video stream only."""
    return Streams(*comfy.utils.unpack_latents(z, shapes)) if len(shapes) > 1 else Streams(z)


def pack(streams: Latents, shapes: Shapes) -> Tensor:
    """The inverse of ``unpack``."""
    parts = streams.present()
    return comfy.utils.pack_latents(parts)[0] if len(shapes) > 1 else parts[0]


def noise_level(model: Any, timestep: Tensor) -> float:
    """The host's sigma divided by the model's maximum, 0 to 1."""
    return float(timestep.flatten()[0]) / float(model.model_sampling.sigma_max)


def guided_by(model: comfy.model_patcher.ModelPatcher) -> list[str]:
    """The nodes of the host whose hooks on a MODEL add up to one pass per step each, in the order of the graph."""
    hooks = model.model_options.get("sampler_post_cfg_function", [])
    owners = (getattr(hook, "__qualname__", "").split(".")[0] for hook in hooks)
    return [owner for owner in owners if owner in (MODALITY, STG)]


class StrategyGuider(comfy.samplers.CFGGuider):
    """Evaluates the branches of a strategy and combines their x0 predictions, separately for each stream.

    Pre- and post-CFG hooks of other nodes run as with the host's guider. They receive the conditional and the unconditional
    prediction; the latter is zeros if the strategy does not evaluate it.
    """

    def __init__(
        self, model: comfy.model_patcher.ModelPatcher, positive: list, negative: list, strategy: Strategy
    ) -> None:
        super().__init__(model)
        if "sampler_cfg_function" in self.model_options:
            raise ValueError(
                "Another node has replaced the guidance of this MODEL (a 'sampler_cfg_function', as RescaleCFG sets). "
                "'Duet Guider' needs its own strategy: remove that node, or use the Duet modifier for the same purpose."
            )
        if self.model_options.get("transformer_options", {}).get(CARRIES):
            raise ValueError(
                "The MODEL already has 'Duet Cross-Modal Guidance'. Remove that node and select the strategy here."
            )
        branches = strategy.possible_branches()
        backbone_of(model.model, model.model_options).require(branches)
        if MODALITY in guided_by(model) and any(not (branch.a2v and branch.v2a) for branch in branches):
            raise ValueError(
                "The MODEL already has cross-modal guidance from 'LTXV Modality Guidance (A/V coupling)', and this strategy adds "
                "its own: the effect would be doubled. Remove that node, or connect a strategy with text guidance only."
            )
        if any(TIMED in options for _, options in (*positive, *negative)) and not reads_timed_text(model):
            raise ValueError(
                "The prompt has timed events, and this MODEL does not read them. Connect the MODEL of 'Duet Timed Prompt'."
            )
        self.inner_set_conds({"positive": positive, "negative": negative})
        self.strategy = strategy

    def sample(self, noise: Any, latent_image: Any, sampler: Any, *args: Any, **kwargs: Any) -> Any:
        require_latent(self.model_patcher.model, latent_image)
        if warning := sampler_warning(self.model_patcher.model, sampler):
            logging.warning("Duet: %s", warning)  # 'SamplerCustomAdvanced' has no place to show it
        streams = latent_image.unbind() if getattr(latent_image, "is_nested", False) else [latent_image]
        self.shapes = [tuple(stream.shape) for stream in streams]
        return super().sample(noise, latent_image, sampler, *args, **kwargs)

    def predict_noise(
        self, x: Tensor, timestep: Tensor, model_options: dict | None = None, seed: int | None = None
    ) -> Tensor:
        options, model, sigma = model_options or {}, self.inner_model, noise_level(self.inner_model, timestep)
        before, after = (options.get(f"sampler_{when}_cfg_function", []) for when in ("pre", "post"))
        null = Branch(text=False)
        branches = self.strategy.branches(sigma)
        if (before or after) and PLAIN not in branches:
            branches = [PLAIN, *branches]
        positive = self.conds["positive"]
        conds = {True: positive, False: with_routes_of(positive, self.conds["negative"])}
        packed = dict(zip(branches, evaluate(model, branches, conds, x, timestep, options), strict=True))
        shared = {"cond_scale": 1.0, "input": x, "sigma": timestep, "model": model, "model_options": options}
        negative = conds[False] if null in packed else None
        if before:
            pair = [packed[PLAIN], packed.get(null, torch.zeros_like(x))]
            for hook in before:
                pair = hook({**shared, "conds": [conds[True], negative], "conds_out": pair, "timestep": timestep})
            packed |= {PLAIN: pair[0]} | ({null: pair[1]} if null in packed else {})
        outputs = {branch: unpack(z, self.shapes) for branch, z in packed.items()}
        result = pack(self.strategy.combine(unpack(x, self.shapes), sigma, outputs), self.shapes)
        for hook in after:
            found = {"cond_denoised": packed[PLAIN], "uncond_denoised": packed.get(null, torch.zeros_like(x))}
            result = hook({**shared, **found, "denoised": result, "cond": conds[True], "uncond": negative})
        return result


def with_cross_modal(
    model: comfy.model_patcher.ModelPatcher, a2v: float, v2a: float, *, start: float, end: float
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL that adds (s - 1)(x0 - x0 with both directions closed) after any guidance, with a scale s for each stream.

    ``a2v`` is the scale of the video, ``v2a`` the scale of the audio. ``start`` and ``end`` are fractions of the schedule.
    """
    backbone = backbone_of(model.model, model.model_options)
    strategy = UCG("U5", a2v=a2v, v2a=v2a, masked=not backbone.tokens)
    backbone.require(strategy.possible_branches())
    if start > end:
        raise ValueError(
            f"start_percent is {start:g} and end_percent {end:g}; the guidance must not end before it starts. 0 is the first step, 1 the "
            "last."
        )
    if math.isclose(a2v, 1) and math.isclose(v2a, 1):
        return model
    if MODALITY in guided_by(model):
        raise ValueError(
            "The MODEL already has 'LTXV Modality Guidance (A/V coupling)', which does the same: the effect would be doubled. "
            "Remove one of the two nodes."
        )
    patched = model.clone()
    if patched.model_options.get("transformer_options", {}).get(CARRIES):
        raise ValueError("The MODEL already has 'Duet Cross-Modal Guidance'. Remove one of the two nodes.")
    patched.model_options["transformer_options"] = {
        **patched.model_options.get("transformer_options", {}),
        CARRIES: True,
    }
    sampling = patched.get_model_object("model_sampling")
    first, last = (sampling.percent_to_sigma(percent) for percent in (start, end))
    closed = Branch(a2v=False, v2a=False, masked=strategy.masked)

    def add(args: dict[str, Any]) -> Tensor:
        if not last <= float(args["sigma"].flatten()[0]) <= first:
            return args["denoised"]
        shapes = args["cond"][0]["model_conds"]["latent_shapes"].cond
        conds = {True: args["cond"], False: args["uncond"]}
        (severed,) = evaluate(args["model"], [closed], conds, args["input"], args["sigma"], args["model_options"])
        total, plain, null = (unpack(z, shapes) for z in (args["denoised"], args["cond_denoised"], severed))
        return pack(total.map(lambda z, p, n, s: z + (p - n) * (s - 1), plain, null, Streams(a2v, v2a)), shapes)

    patched.set_model_sampler_post_cfg_function(add)
    return patched


def cost_of(guider: StrategyGuider, *, without_strategy: bool) -> str:
    """The passes per step of ``guider``, and what replaces the other stream in a closed direction, as one sentence."""
    branches, model = guider.strategy.possible_branches(), guider.model_patcher
    cost = f"up to {len(branches)} passes per step" if len(branches) > 1 else "1 pass per step"
    cost += "".join(f", plus up to 1 for '{node}' on the MODEL" for node in guided_by(model))
    if any(not (branch.a2v and branch.v2a) for branch in branches):
        masked = any(branch.masked for branch in branches)
        cost += f"; sync against: {'untrained null (masked)' if masked else backbone_of(model.model, model.model_options).null}"
    if without_strategy:
        return f"{cost}; no strategy is connected, so the positive prompt is used without guidance"
    plain = branches == [PLAIN] == guider.strategy.branches(1.0)
    return f"{cost}; the strategy has no effect at these settings" if plain else cost


def unused_plan(guider: StrategyGuider) -> str:
    """A warning if the strategy strengthens a plan that the positive prompt does not carry, or ""."""
    strengthened = any(not branch.plan for branch in guider.strategy.possible_branches())
    if not strengthened or any(PLAN in entry for entry in guider.original_conds["positive"]):
        return ""
    return "'Duet Strategy: Plan' has no effect, because the positive prompt has no plan: connect one to 'Duet Apply Conditions'."


def passes_of(guider: comfy.samplers.CFGGuider, sigmas: Tensor) -> int | None:
    """Network passes of one evaluation per step at ``sigmas``; None for guiders of the host."""
    if not isinstance(guider, StrategyGuider):
        return None
    highest = float(guider.model_patcher.get_model_object("model_sampling").sigma_max)
    return sum(len(guider.strategy.branches(float(sigma) / highest)) for sigma in sigmas[:-1])
