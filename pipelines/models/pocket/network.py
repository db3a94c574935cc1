"""The pocket network: a twin-stream rectified flow with cross-modal context attention.

Per block and stream: self-attention, text, add-ons, context attention with the other stream, feed-forward. An absent
stream is ``None``; timesteps and routes are per stream and sample, so that every task (both, either alone, one from the
other, first frame given) is the same network with other routes and noise levels.

Letters: b batch, c channels, t/h/w latent frames/rows/columns, l tokens, n noise levels (one, or one per latent frame).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ....kernels.context_attention import window_mask
from ....kernels.rotary import rotary_table
from ...core.sizes import (
    PIXEL_STEP,
    VIDEO_PATCH,
    audio_latent_seconds,
    latent_frame_of,
    latent_times,
    video_latent_seconds,
)
from ...core.streams import Streams
from ..attention import Geometry, modulate
from .blocks import StreamBlock

RATE = 16.0  # rotary positions are seconds times this
SPAN = 8.0  # rotary positions of rows and columns run from 0 to this, whatever the resolution
TIME_FEATURES = 128
PATCHES = "b (t h w) (c p q)"


@dataclass(frozen=True)
class PocketConfig:
    """Sizes of the network and the clock it was trained on; stored in the weights file."""

    dim: int
    depth: int
    heads: int
    text_dim: int
    video_channels: int
    audio_channels: int
    context_tokens: int  # 0: plain masked attention, whose closed route adds nothing
    window: int | None  # latent frames each side that context attention sees; None: all of them
    fps: int
    sample_rate: int
    clock: Literal["seconds", "index"] = "seconds"  # what context attention's rotary positions count
    gated: bool = False  # a tanh gate after context attention in place of a zero-initialised W_O


POCKET = PocketConfig(
    dim=192,
    depth=4,
    heads=6,
    text_dim=128,
    video_channels=16,
    audio_channels=24,
    context_tokens=8,
    window=1,
    fps=16,
    sample_rate=16_000,
)


def noise_features(sigma: Float[Tensor, "b n"]) -> Float[Tensor, "b n features"]:
    """Sines and cosines of the noise level in 0..1 at frequencies from 1 to 1000 (float32)."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), TIME_FEATURES // 2, device=sigma.device))
    angles = sigma.float()[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class StreamEnds(nn.Module):
    """What stands before and after the blocks of one stream: tokens in, noise level, tokens out."""

    def __init__(self, config: PocketConfig, *, channels: int, axes: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        dim = config.dim
        self.embed = operations.Linear(channels, dim, **factory)
        # Rotary embedding tells tokens apart only by distance; rows and columns also need to know where they are.
        self.place = operations.Linear(4 * (axes - 1), dim, **factory) if axes > 1 else None
        self.noise = nn.Sequential(
            operations.Linear(TIME_FEATURES, dim, **factory), nn.SiLU(), operations.Linear(dim, dim, **factory)
        )
        self.pooled_text = operations.Linear(config.text_dim, dim, **factory)
        self.to_modulation = operations.Linear(dim, 6 * dim, **factory)
        self.to_last = operations.Linear(dim, 2 * dim, **factory)
        self.out = operations.Linear(dim, channels, **factory)

    def tokens(self, x: Float[Tensor, "b l p"], positions: Float[Tensor, "l a"]) -> Float[Tensor, "b l c"]:
        x = self.embed(x)
        if self.place is not None:
            angles = positions[:, 1:] / SPAN * math.pi
            x = x + self.place(
                torch.cat([f(angles * k) for k in (1, 2) for f in (torch.sin, torch.cos)], dim=-1).to(x.dtype)
            )
        return x

    def noise_levels(
        self, sigma: Float[Tensor, "b n"], text: Float[Tensor, "b m s"], mask: Bool[Tensor, "b m"], *, tokens: int
    ) -> Float[Tensor, "b n_or_l c"]:
        """The embedded noise level and pooled text; one for all tokens, or one for each where levels differ by frame."""
        pooled = (text * mask[..., None]).sum(1, keepdim=True) / mask.sum(1).clamp_min(1)[:, None, None]
        level = F.silu(self.noise(noise_features(sigma).to(text.dtype)) + self.pooled_text(pooled))
        return level if sigma.shape[1] == 1 else level.repeat_interleave(tokens // sigma.shape[1], dim=1)

    def clean(self, x: Float[Tensor, "b l c"], level: Tensor) -> Float[Tensor, "b l p"]:
        return self.out(modulate(x, *self.to_last(level).chunk(2, dim=-1)))


def _to_tokens(x: Streams[Tensor]) -> Streams[Tensor]:
    """Latents as tokens [b, l, p]: video in patches, one audio token a latent frame."""
    video = None
    if x.video is not None:
        rows, columns = x.video.shape[-2:]
        if rows % VIDEO_PATCH or columns % VIDEO_PATCH:
            raise ValueError(
                f"The video latent is {rows} x {columns} cells; "
                f"both must be multiples of {VIDEO_PATCH}. Use sizes in steps of {PIXEL_STEP} pixels."
            )
        video = rearrange(x.video, f"b c t (h p) (w q) -> {PATCHES}", p=VIDEO_PATCH, q=VIDEO_PATCH)
    return Streams(video, None if x.audio is None else x.audio.transpose(1, 2))


def _to_latents(tokens: Streams[Tensor], like: Streams[Tensor]) -> Streams[Tensor]:
    """The inverse of ``_to_tokens``, in the sizes of ``like``."""
    video = None
    if tokens.video is not None and like.video is not None:
        h, w = (n // VIDEO_PATCH for n in like.video.shape[-2:])
        video = rearrange(tokens.video, f"{PATCHES} -> b c t (h p) (w q)", h=h, w=w, p=VIDEO_PATCH, q=VIDEO_PATCH)
    return Streams(video, None if tokens.audio is None else tokens.audio.transpose(1, 2))


class TwinStreamDiT(nn.Module):
    """Estimates of both streams' clean latents x0 at noise levels sigma (x = (1 - sigma) x0 + sigma noise).

    It predicts x0 and not the velocity: a token has more numbers (256 for video) than the network is wide, so that the
    noise could not pass through it, but the clean picture can (Li and He, "Back to Basics", arXiv 2511.13720).

    ``operations`` supplies Linear, RMSNorm and LayerNorm: ``torch.nn``, or the host's for offload and casting.
    """

    def __init__(self, config: PocketConfig, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config = config
        shared = {"operations": operations, **factory}
        patch = config.video_channels * VIDEO_PATCH**2
        block = {
            "dim": config.dim,
            "heads": config.heads,
            "text_dim": config.text_dim,
            "context_tokens": config.context_tokens,
            "gated": config.gated,
            **shared,
        }
        self.ends = nn.ModuleDict(
            {
                "video": StreamEnds(config, channels=patch, axes=3, **shared),
                "audio": StreamEnds(config, channels=config.audio_channels, axes=1, **shared),
            }
        )
        self.add_ons = nn.ModuleDict()  # what turns an add-on's condition into what its layers in the blocks read
        self.blocks = nn.ModuleDict(
            {name: nn.ModuleList(StreamBlock(**block) for _ in range(config.depth)) for name in ("video", "audio")}
        )

    def pairs(self) -> list[Streams[StreamBlock]]:
        """The blocks in order, each with its half for either stream."""
        video, audio = (cast(Iterable[StreamBlock], self.blocks[name]) for name in ("video", "audio"))
        return [Streams(*halves) for halves in zip(video, audio, strict=True)]

    @torch.no_grad()
    def init_weights(self) -> None:
        """What starts at zero: the modulations, the last layers, and the blocks' own (see ``StreamBlock``)."""
        for ends in cast(Iterable[StreamEnds], self.ends.values()):
            for layer in (ends.to_modulation, ends.to_last, ends.out):
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)
        for block in self.pairs():
            for half in block.present():
                half.init_weights()

    def geometry(self, x: Streams[Tensor]) -> Streams[Geometry]:
        """Token positions of the streams present; both clocks run in seconds."""
        config, head = self.config, self.config.dim // self.config.heads

        def make(times: Tensor, space: Tensor | None, frames: Tensor, seconds_each: float) -> Geometry:
            clock = times[:, None] * RATE
            positions = (
                clock
                if space is None
                else torch.cat([repeat(clock, "t 1 -> (t s) 1", s=len(space)), space.repeat(len(times), 1)], dim=1)
            )
            span = len(positions) // len(times)
            ticks = (
                positions[:, :1]
                if config.clock == "seconds"
                else torch.arange(len(times)).repeat_interleave(span)[:, None]
            )
            extent = torch.tensor([len(times) * seconds_each * RATE] + [SPAN] * (positions.shape[1] - 1))
            return Geometry(
                positions,
                extent,
                frames.repeat_interleave(span),
                rotary_table(positions, head_dim=head),
                rotary_table(ticks, head_dim=head),
            )

        video = audio = None
        if x.video is not None:
            t, h, w = x.video.shape[2:]
            rows, columns = (latent_times(n // VIDEO_PATCH, VIDEO_PATCH / n) * SPAN for n in (h, w))
            space = torch.cartesian_prod(rows, columns)
            each = video_latent_seconds(config.fps)
            video = make(latent_times(t, each), space, torch.arange(t), each)
        if x.audio is not None:
            count = x.audio.shape[2]
            frames = x.video.shape[2] if x.video is not None else count
            each = audio_latent_seconds(config.sample_rate)
            audio = make(latent_times(count, each), None, latent_frame_of(count, frames), each)
        device = x.present()[0].device
        return Streams(video, audio).map(lambda g: Geometry(*(value.to(device) for value in vars(g).values())))

    def forward(
        self,
        x: Streams[Tensor],
        sigma: Streams[Tensor],
        text: Streams[Tensor],
        *,
        route: Streams[Tensor] | None = None,
        silent: Streams[Tensor] | None = None,
        detached: Streams[Tensor] | None = None,
        conditions: dict[str, Any] | None = None,
    ) -> Streams[Tensor]:
        """x0 of the streams present.

        x: video [b, c, t, h, w], audio [b, c, t]. sigma: [b, n] in 0..1, n one or the stream's latent frames; 0 is clean.
        text: [b, m, text_dim] for each stream, an all-zero row being padding. route: [b] bool for each stream, whether it
        sees the other (``None``: it does); a closed route leaves the context tokens alone. silent: [b] bool for each stream,
        whether context attention adds nothing at all to it (``None``: it adds). detached: [b] bool for each stream,
        whether the other reads it without a gradient (``None``: with one). conditions: name -> what the add-on of that name
        takes; without it the add-on does nothing.
        """
        place, masks = self.geometry(x), text.map(lambda e: e.abs().amax(-1) > 0)
        ends = Streams(self.ends["video"], self.ends["audio"])
        states = _to_tokens(x).map(lambda z, end, g: end.tokens(z, g.positions), ends, place)
        level = states.map(
            lambda h, end, s, e, m: end.noise_levels(s, e, m, tokens=h.shape[1]), ends, sigma, text, masks
        )
        noise = level.map(lambda z, end: end.to_modulation(z), ends)
        given = self._given(conditions or {}, place)
        for block in self.pairs():
            states, mods = self._attend(block, states, noise, place, text, masks, given)
            states = self._exchange(
                block, states, place, route or Streams(), silent or Streams(), detached or Streams()
            )
            states = states.map(lambda h, half, m: half.feed(h, m), block, mods)
        return _to_latents(states.map(lambda h, end, z: end.clean(h, z), ends, level), x)

    def _given(self, conditions: dict[str, Any], place: Streams[Geometry]) -> Streams[dict[str, Any]]:
        """Each stream's part of every condition that an add-on is there for."""
        read = {
            name: encode(conditions[name], place)
            for name, encode in self.add_ons.items()
            if conditions.get(name) is not None
        }
        return Streams(
            *({name: getattr(value, stream) for name, value in read.items()} for stream in ("video", "audio"))
        )

    @staticmethod
    def _attend(
        block: Streams,
        states: Streams,
        noise: Streams,
        place: Streams,
        text: Streams,
        masks: Streams,
        given: Streams,
    ) -> tuple[Streams, Streams]:
        mods = noise.map(lambda z, half: half.modulations(z), block)

        def attend(
            h: Tensor,
            half: StreamBlock,
            m: tuple[Tensor, ...],
            g: Geometry,
            e: Tensor,
            mask: Tensor,
            conditions: dict[str, Any],
        ) -> Tensor:
            return half.attend(h, m, place=g, text=e, text_mask=mask, conditions=conditions)

        return states.map(attend, block, mods, place, text, masks, given), mods

    def _exchange(
        self, block: Streams, states: Streams, place: Streams, route: Streams, silent: Streams, detached: Streams
    ) -> Streams:
        """Both directions read the states from before either update, so that their order cannot matter."""
        normed = states.map(lambda h, half: half.norm_context(h), block)

        def take(
            h: Tensor,
            half: StreamBlock,
            mine: Tensor,
            theirs: Tensor | None,
            g: Geometry,
            other: Geometry | None,
            open_: Tensor | None,
            quiet: Tensor | None,
        ) -> Tensor:
            reach = self.config.window
            window = None if other is None or reach is None else window_mask(g.frames, other.frames, reach=reach)
            rotary = g.clock, None if other is None else other.clock
            heard = half.context_attention(mine, theirs, rotary=rotary, window=window, route=open_)
            return h + (heard if quiet is None else heard.where(~quiet[:, None, None], 0))

        context = normed.map(lambda h, cut: h if cut is None else h.where(~cut[:, None, None], h.detach()), detached)
        swapped, elsewhere = Streams(context.audio, context.video), Streams(place.audio, place.video)
        return states.map(take, block, normed, swapped, place, elsewhere, route, silent)
