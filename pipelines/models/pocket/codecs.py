"""What the codecs of models of the pocket world offer, whatever the layout of their latents."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from .audio_codec import AudioCodec


@runtime_checkable
class FrameCodec(Protocol):
    """Frames [b, t, 3, h, w] in 0..1 <-> video latents [b, channels, t', h', w']."""

    channels: int

    @property
    def stride(self) -> tuple[int, int, int]:
        """Frames, rows and columns of pixels behind one latent cell."""
        ...

    def encode(self, frames: Tensor) -> Tensor: ...

    def decode(self, latent: Tensor) -> Tensor: ...


@runtime_checkable
class SoundCodec(Protocol):
    """Stereo waveforms [b, 2, samples] at ``sample_rate`` <-> audio latents [b, channels, t]."""

    channels: int
    sample_rate: int

    def encode(self, waveform: Tensor) -> Tensor: ...

    def decode(self, latent: Tensor, *, samples: int | None = None) -> Tensor:
        """``samples`` cuts the padding of the last latent frame."""
        ...

    @property
    def base(self) -> AudioCodec:
        """The pocket codec behind it."""
        ...
