"""LTX-2's transformer (diffusers' class) over latents of both streams.

Letters: b batch, c channels, t/h/w latent frames/rows/columns, n noise levels or tokens of a stream, m text tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformer3DModel
from jaxtyping import Float
from torch import Tensor, nn

from ...core.streams import Streams
from ...guidance.timed import Edges, latent_edges
from ..addons.context import ContextTokens
from ..attention import of_tokens
from .host_order import HostOrder
from .sizes import AudioClock, LTX2Sizes

TEXT_ATTENTION = r"transformer_blocks\.\d+\.(audio_)?attn2\.to_(q|k|v|out\.0)"  # its projections, in both streams


def video_coordinates(sizes: LTX2Sizes, size: tuple[int, int, int], *, fps: float) -> Float[Tensor, "3 n 2"]:
    """Start and end of each video token: seconds, pixel row, pixel column."""
    starts = torch.cartesian_prod(*(torch.arange(count, dtype=torch.float32) for count in size)).T
    spans = torch.stack([starts, starts + 1], dim=-1) * torch.tensor(sizes.scale, dtype=torch.float32)[:, None, None]
    if sizes.causal:
        spans[0] = (spans[0] + 1 - sizes.scale[0]).clamp_min(0)
    spans[0] *= 1.0 / fps
    return spans


def audio_coordinates(clock: AudioClock, count: int) -> Float[Tensor, "1 n 2"]:
    """Start and end of each audio token in seconds."""
    edges = torch.arange(count + 1, dtype=torch.float32) * clock.stride
    if clock.causal:
        edges = (edges + 1 - clock.stride).clamp_min(0)
    seconds = edges * clock.hop / clock.sample_rate
    return torch.stack([seconds[:-1], seconds[1:]], dim=-1)[None]


def latent_times(sizes: LTX2Sizes, counts: Streams[int], *, fps: float) -> Streams[Edges]:
    """Boundaries in seconds of ``counts`` latents of both streams."""
    (video, audio), clock = counts.both(), sizes.audio_clock
    first = (1,) if sizes.causal else ()
    rate = clock.sample_rate / clock.hop
    return Streams(
        latent_edges(video, leading=first, each=(sizes.scale[0],), rate=fps),
        latent_edges(audio, leading=(1,) if clock.causal else (), each=(clock.stride,), rate=rate),
    )


class LTX2Network(nn.Module):
    """Velocity of latents video [b, c, t, h, w] and audio [b, c, t], as ComfyUI's LTXAV model computes it."""

    def __init__(self, sizes: LTX2Sizes, transformer: LTX2VideoTransformer3DModel | None = None) -> None:
        """``transformer`` is one of ``sizes``; without it, a new one with random weights."""
        super().__init__()
        self.sizes = sizes
        self.transformer = transformer or LTX2VideoTransformer3DModel(**sizes.diffusers())
        self._order = HostOrder(self.transformer)
        for name, module in self.transformer.named_modules():
            if name.endswith("rope"):
                # In a compiled graph, every kernel that rotates would compute the sines again: half of a training step.
                module.forward = torch.compiler.disable(module.forward)

    @property
    def context(self) -> ContextTokens | None:
        """The context tokens in the cross-modal attentions, if there are any."""
        return self._order.context

    def install_context(self, context: ContextTokens) -> None:
        """Put context tokens into the cross-modal attentions. They stay a module of their own, and are not in the state dict."""
        self._order.context = context

    def forward(
        self,
        x: Streams[Tensor],
        sigma: Streams[Tensor],
        text: Streams[Tensor],
        *,
        fps: float,
        mask: Streams[Tensor] | None = None,
        route: Streams[Tensor] | None = None,
        silent: Streams[Tensor] | None = None,
    ) -> Streams[Tensor]:
        """Velocities of both streams.

        sigma: [b, n] in 0..1 for each stream; n is 1, the latent frames or the tokens. text: [b, m, width] for each stream. mask: for
        each stream [b, m], 1 for text tokens that are read, or [b, tokens, m] that is added to the logits. route: [b] or [b, latent
        frames] bool for each stream, whether it reads the other. silent: [b] bool for each stream, closed routes that add zero although
        there are context tokens.
        """
        (video, audio), batch = x.both(), x.both()[0].shape[0]
        size = (int(video.shape[2]), int(video.shape[3]), int(video.shape[4]))
        tokens = Streams(video.flatten(2).transpose(1, 2), audio.transpose(1, 2))
        levels = self._levels(sigma, tokens, size)
        highest = levels.map(lambda level: level.amax(1))
        masks = mask or Streams()
        reads = (route or Streams()).map(lambda flag, z: of_tokens(flag, z.shape[1]), tokens)
        self._order.start(highest, reads, silent or Streams())
        out = self.transformer(
            **self._positions(size, audio.shape[2], fps, batch, video.device),
            hidden_states=tokens.video,
            audio_hidden_states=tokens.audio,
            encoder_hidden_states=text.video,
            audio_encoder_hidden_states=text.audio,
            timestep=levels.video,
            audio_timestep=levels.audio,
            sigma=highest.video,
            audio_sigma=highest.audio,
            encoder_attention_mask=masks.video,
            audio_encoder_attention_mask=masks.audio,
            return_dict=False,
        )
        return Streams(out[0].transpose(1, 2).unflatten(2, size), out[1].transpose(1, 2))

    def _levels(self, sigma: Streams[Tensor], tokens: Streams[Tensor], size: tuple[int, int, int]) -> Streams[Tensor]:
        """Scaled noise levels [b, tokens]."""
        scale = self.transformer.config.timestep_scale_multiplier

        def spread(level: Tensor, z: Tensor) -> Tensor:
            level = level if level.shape[1] != size[0] else level.repeat_interleave(z.shape[1] // size[0], dim=1)
            return level.expand(-1, z.shape[1]) * scale

        video, audio = sigma.both()
        ours, theirs = tokens.both()
        return Streams(spread(video, ours), audio.expand(-1, theirs.shape[1]) * scale)

    def _positions(
        self, size: tuple[int, int, int], count: int, fps: float, batch: int, device: torch.device
    ) -> dict[str, Any]:
        """Coordinates of the tokens, and the tokens that LTX-2.5 marks as single frames."""
        coords = Streams(video_coordinates(self.sizes, size, fps=fps), audio_coordinates(self.sizes.audio_clock, count))
        video, audio = coords.map(lambda c: c.to(device).expand(batch, -1, -1, -1)).both()
        marked = (video[:, 0, :, 0] == 0).float()[..., None] if self.sizes.keyframe_marker else None
        return {"video_coords": video, "audio_coords": audio, "video_keyframes_mask": marked}
