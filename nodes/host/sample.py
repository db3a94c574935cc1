"""Sampling with the host's own loop: its progress, previews and cancel."""

from __future__ import annotations

from typing import Any

import comfy.nested_tensor
import comfy.samplers
import latent_preview
import torch
from torch import Tensor

from ...pipelines.sampling import initial_noise
from ...pipelines.streams import Streams
from .latent import nest, unnest


def default_sampler() -> Any:
    """Euler, the sampler of the command line."""
    return comfy.samplers.sampler_object("euler")


def sample_latent(
    guider: comfy.samplers.CFGGuider, latent: dict[str, Any], *, seed: int, sampler: Any, sigmas: Tensor
) -> dict[str, Any]:
    """``latent`` after sampling; take k of a batch starts from the noise of ``seed + k``, as on the command line."""
    streams = unnest(latent)
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
    return {**latent, "samples": comfy.nested_tensor.NestedTensor([stream.to("cpu") for stream in samples.unbind()])}
