"""SAVA's masked adapter over the pocket latents: it passes only the information that video and audio share.

Projections q_V and q_A map both streams to tokens of one width. Mask networks M_V and M_A read **both** streams and estimate, channel
by channel, what their own stream shares with the other. Predictors read the masked tokens and predict the other stream's latents; the
loss compares what the frozen decoders reconstruct from them. Ours: tokens instead of a single vector, so that a mask varies over time
and place; orthonormal projections and a scale-free gate (see ``gates``); predictors, because our decoders read only codec latents.

Letters: b batch, t video latent frames, l tokens of a stream, d their channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...core.conditions import unit_grid
from ...core.schema import Heads, Seconds, Text, Width, check_heads
from ...core.sizes import ClipShape
from ...core.streams import Streams
from ..perceiver import PerceiverBlock, PerceiverSize, QueryPerceiver, StreamPerceiver
from .gates import GATES, NOISE, OPEN, OPEN_LOGIT, bounded_mask

CELL = 2  # latent rows and columns of one video token
BOTH, OWN = "both", "own"


@dataclass(frozen=True)
class AdapterConfig:
    """Sizes; ``video`` and ``audio`` are latent channels. ``sees`` is 'both', or 'own' if each mask reads only its own stream (the
    paper's ablation). ``gate`` is a key of ``gates.GATES``."""

    video: Width
    audio: Width
    gate: Text = NOISE
    sees: Text = BOTH
    dim: Width = 64
    hidden: Width = 64
    heads: Heads = 4
    seconds: Seconds = 2.0  # length of the clips that it reads

    def __post_init__(self) -> None:
        check_heads(self.hidden, self.heads)
        if self.gate not in GATES:
            raise ValueError(f"gate is {self.gate!r}; it must be one of {', '.join(GATES)}.")
        if self.sees not in (BOTH, OWN):
            raise ValueError(f"sees is {self.sees!r}; it must be {BOTH!r} or {OWN!r}.")


def deviations_from_mean(tokens: Float[Tensor, "b l d"], frames: int) -> Float[Tensor, "b l d"]:
    """Each token minus its mean over the clip at the same place; ``frames`` is the slowest axis of the tokens."""
    clip = tokens.unflatten(1, (frames, -1))
    return (clip - clip.mean(1, keepdim=True)).flatten(1, 2)


def repeated_frame_means(tokens: Float[Tensor, "b m c"], frames: int, count: int) -> Float[Tensor, "b n c"]:
    """The mean of the other stream's tokens in the same frame, for each of ``count`` tokens of this stream."""
    return tokens.unflatten(1, (frames, -1)).mean(2).repeat_interleave(count // frames, dim=1)


class Projection(nn.Module):
    """q: an orthonormal map, then normalisation to unit variance in every channel, which the noise gate requires."""

    def __init__(self, inside: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(inside, dim) + 0.05 * torch.randn(inside, dim))
        self.unit = nn.BatchNorm1d(dim, affine=False, momentum=0.01)

    def forward(self, tokens: Float[Tensor, "b l p"]) -> Float[Tensor, "b l d"]:
        q = torch.linalg.qr(self.weight.float())[0]
        return self.unit((tokens.float() @ q).flatten(0, 1)).unflatten(0, tokens.shape[:2])


class MaskNet(nn.Module):
    """M: a mask in (0, 1) for each channel of one stream's tokens, from these tokens and what they find in the other stream.

    A mask that reads the stream to be predicted can leak it to the predictor: with one logit for each channel of each token, after 300
    steps the video was predicted with .37 of the error that the whole audio allows. Two changes (ours) prevent this. A logit is the sum
    of one for the token, which depends on the input, and one for the channel, which does not. And only changes over time are read from
    the other stream, and only these are to be predicted.
    """

    def __init__(self, config: AdapterConfig, axes: Streams[int], own: str, *, frames: int) -> None:
        super().__init__()
        size = PerceiverSize(config.hidden, config.heads)
        self.own, self.sees, self.frames = own, config.sees, frames
        self.readers = nn.ModuleDict({name: StreamPerceiver(config.dim, n, size) for name, n in vars(axes).items()})
        self.mix = PerceiverBlock(config.hidden, config.heads)
        self.norm, self.token = nn.LayerNorm(config.hidden), nn.Linear(config.hidden, 1)
        self.channel = nn.Parameter(torch.zeros(config.dim))
        nn.init.zeros_(self.token.weight)
        nn.init.constant_(self.token.bias, OPEN_LOGIT)

    def forward(self, z: Streams[Tensor], places: Streams[Tensor]) -> Float[Tensor, "b l d"]:
        read = {
            name: own if name == self.own else deviations_from_mean(own, self.frames) for name, own in vars(z).items()
        }
        states = {name: self.readers[name](tokens, vars(places)[name]) for name, tokens in read.items()}
        x, other = states.pop(self.own), next(iter(states.values()))
        if self.sees == BOTH:
            x = x + repeated_frame_means(other, self.frames, x.shape[1])
            x = self.mix(x, torch.cat([x, other], dim=1))
        return bounded_mask(self.token(self.norm(x)).float() + self.channel)


class Predictor(nn.Module):
    """Predicts the other stream's tokens from one stream's masked tokens."""

    def __init__(self, config: AdapterConfig, axes: int, places: Tensor, outside: int, *, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.read = StreamPerceiver(config.dim, axes, PerceiverSize(config.hidden, config.heads))
        self.ask = QueryPerceiver(places, PerceiverSize(config.hidden, config.heads, depth=2))
        self.out = nn.Linear(config.hidden, outside)

    def forward(self, tokens: Float[Tensor, "b l d"], places: Float[Tensor, "l a"]) -> Float[Tensor, "b n p"]:
        states = self.read(tokens, places)
        return self.out(self.ask(states, repeated_frame_means(states, self.frames, len(self.ask.places))))


class MaskedAdapter(nn.Module):
    """The adapter of both directions, for clips of the configured length at the pocket model's size."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config, self.shape = config, ClipShape(seconds=config.seconds)
        self.frames, self.rows, self.columns = self.shape.video_latent
        self.audio_per_token = self.shape.audio_latent // self.frames  # audio latents in one token
        axes = Streams(3, 1)
        inside = Streams(config.video * CELL**2, config.audio * self.audio_per_token)
        grid = unit_grid(self.frames, self.rows // CELL, self.columns // CELL)
        self.places = Streams(grid, unit_grid(self.frames))
        self.q = nn.ModuleDict({name: Projection(n, config.dim) for name, n in vars(inside).items()})
        self.mask = nn.ModuleDict({name: MaskNet(config, axes, name, frames=self.frames) for name in vars(axes)})
        self.predict = nn.ModuleDict(
            {
                "audio": Predictor(config, 3, self.places.both()[1], inside.both()[1], frames=self.frames),
                "video": Predictor(config, 1, self.places.both()[0], inside.both()[0], frames=self.frames),
            }
        )

    def check(self, latents: Streams[Tensor]) -> None:
        """Refuse clips of another size.

        Raises:
            ValueError: the clips' length or size differs from what the adapter was trained for.
        """
        video, audio = latents
        own = (self.frames, self.rows, self.columns), self.frames * self.audio_per_token
        found = own[0] if video is None else tuple(video.shape[2:]), own[1] if audio is None else audio.shape[2]
        if found != own:
            raise ValueError(
                f"The adapter reads clips of {own[0]} video and {own[1]} audio latent cells; this clip has {found[0]} and {found[1]}. Use "
                f"a clip of {self.config.seconds:g} seconds at the pocket model's default size."
            )

    def tokens(self, latents: Streams[Tensor]) -> Streams[Float[Tensor, "b l d"]]:
        """q_V and q_A of the streams that are present."""
        video, audio = latents
        if video is not None:
            patches = rearrange(video, "b c t (h p) (w q) -> b (t h w) (c p q)", p=CELL, q=CELL)
            video = self.q["video"](patches)
        if audio is not None:
            audio = self.q["audio"](rearrange(audio, "b c (t n) -> b t (c n)", n=self.audio_per_token))
        return Streams(video, audio)

    def masks(self, z: Streams[Tensor]) -> Streams[Float[Tensor, "b l d"]]:
        """M_V and M_A: the masks of both streams' tokens."""
        if self.config.gate == OPEN:
            return z.map(torch.ones_like)
        places = self.places.map(lambda p: p.to(z.present()[0]))
        return Streams(self.mask["video"](z, places), self.mask["audio"](z, places))

    def predict_stream(self, name: str, passed: Float[Tensor, "b l d"]) -> Tensor:
        """Latents of stream ``name``, predicted from the masked tokens of the other stream."""
        source = "audio" if name == "video" else "video"
        out = self.predict[name](passed, vars(self.places)[source].to(passed))
        if name == "audio":
            return rearrange(out, "b t (c n) -> b c (t n)", n=self.audio_per_token)
        h, w = self.rows // CELL, self.columns // CELL
        return rearrange(out, "b (t h w) (c p q) -> b c t (h p) (w q)", h=h, w=w, p=CELL, q=CELL)

    def fill_missing_stream(self, latents: Streams[Tensor]) -> Streams[Tensor]:
        """P_theta: both streams, the absent one predicted from the unmasked tokens of the other."""
        z = self.tokens(latents)
        return Streams(
            *(
                own if own is not None else self.predict_stream(name, z.present()[0]).to(z.present()[0])
                for name, own in vars(latents).items()
            )
        )

    def project_and_mask(
        self, latents: Streams[Tensor], name: str
    ) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b l d"]]:
        """The projected tokens of stream ``name`` and their soft mask; if the other stream is absent, its prediction is used."""
        z = self.tokens(latents if len(latents.present()) == 2 else self.fill_missing_stream(latents))
        return vars(z)[name], vars(self.masks(z))[name]

    def mask_over_frames(self, mask: Float[Tensor, "b l d"], name: str) -> Float[Tensor, "b f height width"]:
        """The mask of stream ``name``, averaged over channels, at every pixel of every frame of the clip."""
        grid = (self.frames, self.rows // CELL, self.columns // CELL) if name == "video" else (self.frames, 1, 1)
        mean = mask.mean(-1).unflatten(1, grid)[:, None]
        return F.interpolate(mean, (self.shape.frames, self.shape.height, self.shape.width))[:, 0]
