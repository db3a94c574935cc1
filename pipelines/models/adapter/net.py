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
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...plan import unit_grid
from ...shapes import ClipShape
from ...streams import Streams
from ..readers import QueryReader, ReaderSize, StreamReader
from .gates import GATES, NOISE, OPEN, OPEN_LOGIT, bounded, support

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

    def __post_init__(self) -> None:
        if self.gate not in GATES:
            raise ValueError(f"gate is {self.gate!r}; it must be one of {', '.join(GATES)}.")
        if self.sees not in (BOTH, OWN):
            raise ValueError(f"sees is {self.sees!r}; it must be {BOTH!r} or {OWN!r}.")


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
    """M: one stream's tokens, and what they find in the other's, to a mask in (0, 1) for each of their channels."""

    def __init__(self, config: AdapterConfig, axes: Streams[int], own: str) -> None:
        super().__init__()
        size = ReaderSize(config.hidden, config.heads)
        self.own, self.sees = own, config.sees
        self.readers = nn.ModuleDict({name: StreamReader(config.dim, n, size) for name, n in vars(axes).items()})
        self.mix = StreamReader(config.hidden, vars(axes)[own], size)
        self.out = nn.Linear(config.hidden, config.dim)
        nn.init.zeros_(self.out.weight)
        nn.init.constant_(self.out.bias, OPEN_LOGIT)

    def forward(self, z: Streams[Tensor], places: Streams[Tensor]) -> Float[Tensor, "b l d"]:
        states = {name: self.readers[name](vars(z)[name], vars(places)[name]) for name in vars(z)}
        x, other = states.pop(self.own), next(iter(states.values()))
        if self.sees == BOTH:
            for block in self.mix.blocks:
                x = block(x, torch.cat([x, other], dim=1))
        return bounded(self.out(x).float())


class Predictor(nn.Module):
    """What is let through of one stream to the other stream's tokens."""

    def __init__(self, config: AdapterConfig, axes: int, places: Tensor, outside: int) -> None:
        super().__init__()
        self.read = StreamReader(config.dim, axes, ReaderSize(config.hidden, config.heads))
        self.ask = QueryReader(places, ReaderSize(config.hidden, config.heads, depth=2))
        self.out = nn.Linear(config.hidden, outside)

    def forward(self, tokens: Float[Tensor, "b l d"], places: Float[Tensor, "l a"]) -> Float[Tensor, "b n p"]:
        return self.out(self.ask(self.read(tokens, places)))


class MaskedAdapter(nn.Module):
    """Both directions, for clips of ``shape``'s length and size."""

    def __init__(self, config: AdapterConfig, shape: ClipShape | None = None) -> None:
        super().__init__()
        shape = shape or ClipShape()
        self.config = config
        self.frames, self.rows, self.columns = shape.video_latent
        self.each = shape.audio_latent // self.frames  # audio latents in one token
        axes = Streams(3, 1)
        inside = Streams(config.video * CELL**2, config.audio * self.each)
        grid = unit_grid(self.frames, self.rows // CELL, self.columns // CELL)
        self.places = Streams(grid, unit_grid(self.frames))
        self.q = nn.ModuleDict({name: Projection(n, config.dim) for name, n in vars(inside).items()})
        self.mask = nn.ModuleDict({name: MaskNet(config, axes, name) for name in vars(axes)})
        self.predict = nn.ModuleDict(
            {
                "audio": Predictor(config, 3, self.places.both()[1], inside.both()[1]),
                "video": Predictor(config, 1, self.places.both()[0], inside.both()[0]),
            }
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

    def shared(self, latents: Streams[Tensor], name: str) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b l d"]]:
        """What is shared of stream ``name``, by the hard mask, and the soft mask; an absent other stream is predicted."""
        whole = latents if len(latents.present()) == 2 else self.completed(latents)
        z = self.tokens(whole)
        mask = vars(self.masks(z))[name]
        return vars(z)[name] * support(mask), mask
