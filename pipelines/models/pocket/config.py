"""Sizes of the pocket network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PocketConfig:
    """Sizes of the network and the clock it was trained on; stored in the weights file."""

    dim: int
    depth: int
    heads: int
    text_dim: int
    video_channels: int
    audio_channels: int
    context_tokens: int  # 0: plain masked attention; a closed route then adds zero
    window: int | None  # latent frames on either side that cross-modal attention sees; None: all
    fps: int
    sample_rate: int
    clock: Literal["seconds", "index"] = "seconds"  # unit of the rotary positions in cross-modal attention
    gated: bool = False  # a tanh gate after cross-modal attention instead of a zero-initialised W_O


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
