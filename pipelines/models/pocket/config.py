"""Sizes of the pocket network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ...core.schema import Between, Depth, Fps, Heads, SampleRate, Width, check_heads


@dataclass(frozen=True)
class PocketConfig:
    """Sizes of the network and the clock it was trained on; stored in the weights file."""

    dim: Width
    depth: Depth
    heads: Heads
    text_dim: Width
    video_channels: Width
    audio_channels: Width
    context_tokens: Annotated[int, Between(0, 4096)]  # 0: plain masked attention; a closed route then adds zero
    window: Annotated[
        int | None, Between(0, 4096)
    ]  # latent frames on either side that cross-modal attention sees; None: all
    fps: Fps
    sample_rate: SampleRate
    clock: Literal["seconds", "index"] = "seconds"  # unit of the rotary positions in cross-modal attention
    gated: bool = False  # a tanh gate after cross-modal attention instead of a zero-initialised W_O

    def __post_init__(self) -> None:
        check_heads(self.dim, self.heads)


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
