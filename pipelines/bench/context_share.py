"""The share of cross-modal attention on the context tokens, for tokens at an event and for background tokens.

CCL claims that context tokens remove "background bias": a token without a counterpart in the other stream should attend to
them. The split into event and background tokens uses the world's ground truth and is our reconstruction of a test of that claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.sizes import VIDEO_PATCH, VIDEO_STRIDE, ClipShape, audio_latent_seconds, video_latent_seconds
from ..core.streams import Streams
from ..guidance.sampling import initial_noise
from ..models.pocket.blocks import ContextAttention
from ..models.pocket.load import PocketModel
from ..world import Scene, caption
from .readings import true_latents

SIGMA = 0.5  # noise level at which the attention is read


def event_tokens(scenes: Sequence[Scene], shape: ClipShape) -> Streams[Tensor]:
    """Which tokens contain an event that is both seen and heard: video [b, t*h*w], audio [b, t] bool."""
    frames, rows, columns = shape.video_latent
    patches = (rows // VIDEO_PATCH, columns // VIDEO_PATCH)
    video = torch.zeros(len(scenes), frames, *patches, dtype=torch.bool)
    audio = torch.zeros(len(scenes), shape.audio_latent, dtype=torch.bool)
    each_video, each_audio = video_latent_seconds(shape.fps), audio_latent_seconds(shape.sample_rate)
    for b, scene in enumerate(scenes):
        for s in scene.subjects:
            for t in s.times if s.seen and s.heard else ():
                column = min(patches[1] - 1, int(s.x * shape.width / (VIDEO_STRIDE[2] * VIDEO_PATCH)))
                video[b, min(frames - 1, int(t / each_video)), :, column] = True
                audio[b, min(shape.audio_latent - 1, int(t / each_audio))] = True
    return Streams(video.flatten(1), audio)


@torch.inference_mode()
def context_share(model: PocketModel, scenes: Sequence[Scene]) -> dict[str, float]:
    """Mean share of attention on the context tokens over all layers: 'a2v event', 'a2v background', and the same for v2a.

    The inputs are rendered clips at noise level ``SIGMA``, with their captions and both routes open.
    """
    shape, found = ClipShape(), dict[ContextAttention, Tensor]()

    def record(layer: ContextAttention, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        found[layer] = layer.mass(*inputs, rotary=options["rotary"], window=options["window"])

    layers = Streams(
        *([getattr(pair, name).context_attention for pair in model.network.pairs()] for name in ("video", "audio"))
    )
    hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for rows in layers.present() for layer in rows]
    clean = true_latents(model.codecs, scenes, shape)
    noise = initial_noise(clean.map(lambda z: tuple(z.shape[1:])), range(len(scenes)))
    text = model.text.embed([caption(scene) for scene in scenes])
    level = clean.map(lambda z: z.new_full((len(scenes), 1), SIGMA))
    try:
        model.network(clean.map(lambda z, n: torch.lerp(z, n, SIGMA), noise), level, Streams(text, text))
    finally:
        for hook in hooks:
            hook.remove()
    out, events = {}, event_tokens(scenes, shape)
    for direction, rows, event in zip(("a2v", "v2a"), layers.both(), events.both(), strict=True):
        mass = torch.stack([found[layer] for layer in rows]).mean(0)
        out |= {f"{direction} event": mass[event].mean().item(), f"{direction} background": mass[~event].mean().item()}
    return out
