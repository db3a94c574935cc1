"""Sampling with the host's loop, so that progress, previews and cancelling work."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import comfy.nested_tensor
import comfy.samplers
import latent_preview
import torch
from torch import Tensor

from ...pipelines.core.streams import Latents, Streams
from ...pipelines.guidance.sampling import initial_noise, multistep
from ..types import CLIP_SPEC
from .branches import require_latent
from .guider import passes_of
from .joint import JointModel
from .latent import FRAMES_BEFORE_GUIDES, nest, unnest
from .notice import sampler_warning, steps_warning


def default_sampler(guider: comfy.samplers.CFGGuider) -> Any:
    """The sampler of the command line for a pocket model, Euler's method for others."""
    if getattr(guider.model_patcher.model, "pocket_world", False):
        return comfy.samplers.KSAMPLER(_multistep)
    return comfy.samplers.sampler_object("euler")


def _multistep(
    model: Callable[..., Tensor],
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    disable: bool | None = None,
) -> Tensor:
    """``multistep`` as a sampler of the host, on latents in its packed form."""
    ones, current = x.new_ones(len(x)), x

    def denoise(z: Latents, sigma: float) -> Latents:
        nonlocal current
        (current,) = z.present()
        return Streams(model(current, sigma * ones, **(extra_args or {})), None)

    def progress(step: int, x0: Latents) -> None:
        if callback is not None:
            sigma = sigmas[step - 1]
            callback({"x": current, "i": step - 1, "sigma": sigma, "sigma_hat": sigma, "denoised": x0.video})

    found, _ = multistep(denoise, Streams(x, None), sigmas, progress=progress)
    assert found is not None
    return found


def schedule(model: Any, latent: dict[str, Any], steps: int) -> Tensor:
    """The default noise levels of a Duet MODEL for the clip that ``latent`` describes.

    Raises:
        ValueError: the MODEL is not a Duet model, so its schedule is unknown.
    """
    if not isinstance(model.model, JointModel):
        raise ValueError(
            "Non-Duet models require sigmas. Connect sigmas, e.g. from 'BasicScheduler' or the model's own scheduler."
        )
    video, _ = unnest(latent).both()
    return model.model.sigmas(steps, latent.get(CLIP_SPEC), tuple(video.shape[1:]))


def announcement(
    guider: comfy.samplers.CFGGuider,
    latent: dict[str, Any],
    sampler: Any,
    sigmas: Tensor,
    *,
    takes: int = 1,
    what: str = "takes",
) -> str:
    """The cost of sampling ``latent``, or several takes of it that are called ``what``, and a warning if it is far from what a Duet MODEL
    was trained on, or if the sampler is known to ruin sound.

    Raises:
        ValueError: the latent is of another model.
    """
    model, streams = guider.model_patcher.model, unnest(latent)
    require_latent(model, latent["samples"])
    steps, passes = len(sigmas) - 1, passes_of(guider, sigmas)
    cost = f"{steps} step{'s' * (steps != 1)}" if takes == 1 else f"{takes} {what} of {steps} steps"
    if passes is not None:
        cost += f", {takes * passes} network passes"
    warning = model.advice(tuple(streams.both()[0].shape[1:])) if isinstance(model, JointModel) else ""
    return "\n".join(filter(None, (cost, warning, steps_warning(model, steps), sampler_warning(model, sampler))))


def sample_latent(
    guider: comfy.samplers.CFGGuider, latent: dict[str, Any], *, seed: int, sampler: Any, sigmas: Tensor
) -> dict[str, Any]:
    """``latent`` after sampling; clip k of a batch starts from the noise of ``seed + k``, as on the command line."""
    streams = unnest(latent)
    if CLIP_SPEC in latent:
        # The network receives the ClipSpec through its conditions. The guider is copied, as it may be used for other latents too.
        spec, guider = {CLIP_SPEC: latent[CLIP_SPEC]}, copy.copy(guider)
        guider.original_conds = {k: [{**c, **spec} for c in conds] for k, conds in guider.original_conds.items()}
    sizes = streams.map(lambda z: tuple(z.shape[1:]))
    noise = nest(initial_noise(Streams(*sizes), range(seed, seed + streams.present()[0].shape[0])))
    callback = latent_preview.prepare_callback(guider.model_patcher, len(sigmas) - 1)
    with torch.inference_mode():
        samples = guider.sample(
            noise,
            latent["samples"],
            sampler,
            sigmas,
            denoise_mask=latent.get("noise_mask"),
            callback=callback,
            seed=seed,
        )
    samples = comfy.nested_tensor.NestedTensor([stream.to("cpu") for stream in samples.unbind()])
    return {**with_facts(latent, guider), "samples": samples}


def with_facts(latent: dict[str, Any], guider: comfy.samplers.CFGGuider) -> dict[str, Any]:
    """``latent`` with what the guider's prompts say about the clip: the frame rate, unless the latent states one, and the number of
    latent frames before the guides that LTX's 'Add Guide' appends to the video."""
    entries = [entry for conds in guider.original_conds.values() for entry in conds]
    facts: dict[str, Any] = {}
    rate = next((entry["frame_rate"] for entry in entries if entry.get("frame_rate")), None)
    if rate is not None:
        facts["frame_rate"] = float(rate)
    guides = next((entry["keyframe_idxs"] for entry in entries if entry.get("keyframe_idxs") is not None), None)
    if guides is not None:
        frames, height, width = unnest(latent).both()[0].shape[2:]
        facts[FRAMES_BEFORE_GUIDES] = frames - guides.shape[2] // (height * width)
    return {**facts, **latent}
