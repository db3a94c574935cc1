"""Sampling with the host's own loop: its progress, previews and cancel."""

from __future__ import annotations

import copy
from typing import Any

import comfy.nested_tensor
import comfy.samplers
import latent_preview
import torch
from torch import Tensor

from ...pipelines.core.streams import Streams
from ...pipelines.guidance.sampling import initial_noise
from ..types import CLIP_SPEC
from .latent import nest, unnest
from .model import JointModel


def default_sampler() -> Any:
    """Euler, the sampler of the command line."""
    return comfy.samplers.sampler_object("euler")


def schedule(model: Any, latent: dict[str, Any], steps: int) -> Tensor:
    """The noise levels a MODEL of ours was made for, for the clip that ``latent`` was asked to be.

    Raises:
        ValueError: the MODEL is not ours, so that its schedule is not known here.
    """
    if not isinstance(model.model, JointModel):
        raise ValueError(
            "This model has a schedule of its own. Connect sigmas, e.g. of 'BasicScheduler' or of the model's own scheduler."
        )
    video, _ = unnest(latent).both()
    return model.model.sigmas(steps, latent.get(CLIP_SPEC), tuple(video.shape[1:]))


def sample_latent(
    guider: comfy.samplers.CFGGuider, latent: dict[str, Any], *, seed: int, sampler: Any, sigmas: Tensor
) -> dict[str, Any]:
    """``latent`` after sampling; take k of a batch starts from the noise of ``seed + k``, as on the command line."""
    streams = unnest(latent)
    if CLIP_SPEC in latent:
        # The network is told through its conditions; the guider that came in may be used for other latents.
        told, guider = {CLIP_SPEC: latent[CLIP_SPEC]}, copy.copy(guider)
        guider.original_conds = {k: [{**c, **told} for c in conds] for k, conds in guider.original_conds.items()}
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
    return {**with_stated_rate(latent, guider), "samples": samples}


def with_stated_rate(latent: dict[str, Any], guider: comfy.samplers.CFGGuider) -> dict[str, Any]:
    """``latent`` with the frame rate of the guider's prompts, as LTX's conditioning carries it, unless it states its own."""
    conds = (entry for conds in guider.original_conds.values() for entry in conds)
    rate = next((entry["frame_rate"] for entry in conds if entry.get("frame_rate")), None)
    return latent if rate is None else {"frame_rate": float(rate), **latent}
