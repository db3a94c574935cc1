"""SAVA's masked adapter over the pocket latents: what picture and sound share, and nothing else, passes.

Projections q_V and q_A bring both streams to tokens of one width; mask networks M_V and M_A read **both** and say, channel by channel,
what of their own stream is shared; predictors read what is let through and answer with the other stream's latents, which the frozen
decoders turn into what is compared. Ours: tokens instead of one vector, so that a mask says when and where; orthonormal projections
and a gate without a scale (see ``gates``); predictors, because our decoders read codec latents alone.

Letters: b batch, t latent frames of the picture, l tokens of a stream, d their channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...core.conditions import unit_grid
from ...core.sizes import ClipShape
from ...core.streams import Streams
from ..perceiver import PerceiverBlock, PerceiverSize, QueryPerceiver, StreamPerceiver
from .gates import GATES, NOISE, OPEN, OPEN_LOGIT, bounded

CELL = 2  # latent rows and columns in one token of the picture
BOTH, OWN = "both", "own"


@dataclass(frozen=True)
class AdapterConfig:
    """Sizes; ``video`` and ``audio`` are channels of latents. ``sees`` is 'own' where a mask reads its own stream alone (the paper's
    ablation), and ``gate`` one of ``gates.GATES``."""

    video: int
    audio: int
    gate: str = NOISE
    sees: str = BOTH
    dim: int = 64
    hidden: int = 64
    heads: int = 4
    seconds: float = 2.0  # of the clips that it reads

    def __post_init__(self) -> None:
        if self.gate not in GATES:
            raise ValueError(f"gate is {self.gate!r}; it must be one of {', '.join(GATES)}.")
        if self.sees not in (BOTH, OWN):
            raise ValueError(f"sees is {self.sees!r}; it must be {BOTH!r} or {OWN!r}.")


def changes(tokens: Float[Tensor, "b l d"], frames: int) -> Float[Tensor, "b l d"]:
    """What of each place differs from its mean over the clip; the ``frames`` are the slowest axis of the tokens."""
    clip = tokens.unflatten(1, (frames, -1))
    return (clip - clip.mean(1, keepdim=True)).flatten(1, 2)


def aligned(tokens: Float[Tensor, "b m c"], frames: int, count: int) -> Float[Tensor, "b n c"]:
    """What happens in the other stream at the same time, for each of ``count`` tokens of this one: the mean over each frame."""
    return tokens.unflatten(1, (frames, -1)).mean(2).repeat_interleave(count // frames, dim=1)


class Projection(nn.Module):
    """q: an orthonormal map, then unit variance in every channel, which the gate needs."""

    def __init__(self, inside: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(inside, dim) + 0.05 * torch.randn(inside, dim))
        self.unit = nn.BatchNorm1d(dim, affine=False, momentum=0.01)

    def forward(self, tokens: Float[Tensor, "b l p"]) -> Float[Tensor, "b l d"]:
        q = torch.linalg.qr(self.weight.float())[0]
        return self.unit((tokens.float() @ q).flatten(0, 1)).unflatten(0, tokens.shape[:2])


class MaskNet(nn.Module):
    """M: one stream's tokens, and what they find in the other's, to a mask in (0, 1) for each of their channels.

    A mask that reads the stream which is to be predicted can tell the predictor of it: with a logit for every channel of every token
    pictures came out of sounds, after 300 steps, at .37 of the error that all of the sound allows. Two changes (ours) take the
    means and the gain from that: a token's logit, which reads, and a channel's, which does not, are added up; and of the other stream
    only what changes over time is read, and is to be predicted.
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
        read = {name: own if name == self.own else changes(own, self.frames) for name, own in vars(z).items()}
        states = {name: self.readers[name](tokens, vars(places)[name]) for name, tokens in read.items()}
        x, other = states.pop(self.own), next(iter(states.values()))
        if self.sees == BOTH:
            x = x + aligned(other, self.frames, x.shape[1])
            x = self.mix(x, torch.cat([x, other], dim=1))
        return bounded(self.token(self.norm(x)).float() + self.channel)


class Predictor(nn.Module):
    """What is let through of one stream to the other stream's tokens."""

    def __init__(self, config: AdapterConfig, axes: int, places: Tensor, outside: int, *, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.read = StreamPerceiver(config.dim, axes, PerceiverSize(config.hidden, config.heads))
        self.ask = QueryPerceiver(places, PerceiverSize(config.hidden, config.heads, depth=2))
        self.out = nn.Linear(config.hidden, outside)

    def forward(self, tokens: Float[Tensor, "b l d"], places: Float[Tensor, "l a"]) -> Float[Tensor, "b n p"]:
        states = self.read(tokens, places)
        return self.out(self.ask(states, aligned(states, self.frames, len(self.ask.places))))


class MaskedAdapter(nn.Module):
    """Both directions, for clips of the configured length at the pocket model's size."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config, self.shape = config, ClipShape(seconds=config.seconds)
        self.frames, self.rows, self.columns = self.shape.video_latent
        self.each = self.shape.audio_latent // self.frames  # audio latents in one token
        axes = Streams(3, 1)
        inside = Streams(config.video * CELL**2, config.audio * self.each)
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
            ValueError: they are longer, shorter, larger or smaller than what the adapter was made for.
        """
        video, audio = latents
        own = (self.frames, self.rows, self.columns), self.frames * self.each
        given = own[0] if video is None else tuple(video.shape[2:]), own[1] if audio is None else audio.shape[2]
        if given != own:
            raise ValueError(
                f"The adapter reads clips of {own[0]} and {own[1]} latent cells, and these are of {given[0]} and {given[1]}. Make the "
                f"clip {self.config.seconds:g} seconds at the model's own size."
            )

    def tokens(self, latents: Streams[Tensor]) -> Streams[Float[Tensor, "b l d"]]:
        """q_V and q_A of the streams that are there."""
        video, audio = latents
        if video is not None:
            patches = rearrange(video, "b c t (h p) (w q) -> b (t h w) (c p q)", p=CELL, q=CELL)
            video = self.q["video"](patches)
        if audio is not None:
            audio = self.q["audio"](rearrange(audio, "b c (t n) -> b t (c n)", n=self.each))
        return Streams(video, audio)

    def masks(self, z: Streams[Tensor]) -> Streams[Float[Tensor, "b l d"]]:
        """M_V and M_A."""
        if self.config.gate == OPEN:
            return z.map(torch.ones_like)
        places = self.places.map(lambda p: p.to(z.present()[0]))
        return Streams(self.mask["video"](z, places), self.mask["audio"](z, places))

    def other(self, name: str, passed: Float[Tensor, "b l d"]) -> Tensor:
        """Latents of stream ``name``, as predicted from what is let through of the other one."""
        source = "audio" if name == "video" else "video"
        out = self.predict[name](passed, vars(self.places)[source].to(passed))
        if name == "audio":
            return rearrange(out, "b t (c n) -> b c (t n)", n=self.each)
        h, w = self.rows // CELL, self.columns // CELL
        return rearrange(out, "b (t h w) (c p q) -> b c t (h p) (w q)", h=h, w=w, p=CELL, q=CELL)

    def completed(self, latents: Streams[Tensor]) -> Streams[Tensor]:
        """P_theta: the stream that is absent, predicted from all of the one that is there."""
        z = self.tokens(latents)
        return Streams(
            *(
                own if own is not None else self.other(name, z.present()[0]).to(z.present()[0])
                for name, own in vars(latents).items()
            )
        )

    def read(self, latents: Streams[Tensor], name: str) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b l d"]]:
        """Stream ``name`` projected, and its soft mask; an absent other stream is predicted."""
        z = self.tokens(latents if len(latents.present()) == 2 else self.completed(latents))
        return vars(z)[name], vars(self.masks(z))[name]

    def over_frames(self, mask: Float[Tensor, "b l d"], name: str) -> Float[Tensor, "b f height width"]:
        """How open the mask of stream ``name`` is, the mean over channels, at every pixel of every frame of the clip."""
        grid = (self.frames, self.rows // CELL, self.columns // CELL) if name == "video" else (self.frames, 1, 1)
        openness = mask.mean(-1).unflatten(1, grid)[:, None]
        return F.interpolate(openness, (self.shape.frames, self.shape.height, self.shape.width))[:, 0]
