"""The host's nested latents and our Streams."""

from __future__ import annotations

from typing import Any

import comfy.nested_tensor
from torch import Tensor

from ...pipelines.streams import Streams


def nest(streams: Streams[Tensor]) -> comfy.nested_tensor.NestedTensor:
    """Both streams as the host's nested latent, video first."""
    return comfy.nested_tensor.NestedTensor((streams.video, streams.audio))


def unnest(latent: dict[str, Any]) -> Streams[Tensor]:
    """Both streams of a LATENT.

    Raises:
        ValueError: the latent holds one stream only.
    """
    samples = latent["samples"]
    if not getattr(samples, "is_nested", False) or len(samples.unbind()) != 2:
        raise ValueError(
            "The latent holds no pair of streams. Connect a latent from 'Duet Empty Latent' or another joint audio-video latent."
        )
    return Streams(*samples.unbind())
