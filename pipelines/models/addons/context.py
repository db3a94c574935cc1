"""Context tokens (CCL): learnt tokens C among the keys and values of a frozen network's cross-modal attentions.

A stream whose route is open reads [C; other stream], one whose route is closed reads C alone. Trained with routes closed in a part of the
samples, C alone means 'there is no other stream': the trained null of unified cross-modal guidance (UCG).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...core.schema import Between, Depth, Width

NAME = "context"
CLOSED = -10_000.0  # added to the logits of keys that are not read
SPREAD = 0.02  # deviation of new tokens; the network's norm of keys brings them to the length of other keys

Rotation = tuple[Tensor, Tensor]  # cosines and sines, the tokens along the last dimension but one


@dataclass(frozen=True)
class ContextConfig:
    """Sizes: blocks, width of each stream, and tokens of one attention."""

    depth: Depth
    video_dim: Width
    audio_dim: Width
    tokens: Annotated[int, Between(1, 256)] = 8


class ContextTokens(nn.Module):
    """The tokens of every block: ``video`` [depth, tokens, audio width] are read by the video and stand for audio, ``audio`` [depth,
    tokens, video width] the other way round."""

    def __init__(self, config: ContextConfig) -> None:
        super().__init__()
        self.config = config
        self.video = nn.Parameter(torch.zeros(config.depth, config.tokens, config.audio_dim))
        self.audio = nn.Parameter(torch.zeros(config.depth, config.tokens, config.video_dim))

    def init_weights(self) -> None:
        """Small random tokens."""
        for tokens in (self.video, self.audio):
            nn.init.normal_(tokens, std=SPREAD)

    def of(self, stream: str, block: int) -> Float[Tensor, "tokens width"]:
        """The tokens that ``stream`` reads in a block."""
        return getattr(self, stream)[block]


def before(tokens: Float[Tensor, "c width"], states: Float[Tensor, "b n width"]) -> Float[Tensor, "b keys width"]:
    """[C; states] for each row of a batch."""
    return torch.cat([tokens.to(states).expand(len(states), -1, -1), states], 1)


def unrotated(rotation: Rotation, count: int) -> Rotation:
    """``rotation`` of the keys [C; states]: the ``count`` tokens C are nowhere in time, so they are not rotated."""
    cosines, sines = rotation
    return F.pad(cosines, (0, 0, count, 0), value=1.0), F.pad(sines, (0, 0, count, 0))


def key_bias(open_route: Bool[Tensor, "b ..."], *, context: int, states: int) -> Float[Tensor, "b l_or_1 keys"]:
    """What is added to the logits of the keys [C; states]: ``open_route``, whether a sample, or each of its tokens, reads the states."""
    closed = torch.where(open_route, 0.0, CLOSED).view(len(open_route), -1, 1)
    return F.pad(closed.expand(-1, -1, states), (context, 0))
