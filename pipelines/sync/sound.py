"""What is measured of an audio stream, without its samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..media.blocks import Blocks
from .loudness import Loudness, LoudnessMeter
from .onsets import BLOCK_SECONDS, TICKS, SoundOnsets


@dataclass(frozen=True)
class Sound:
    """An audio stream that has at least one sample."""

    onsets: Float[Tensor, " n"]  # see ``onsets.sound_onsets``
    energy: Float[Tensor, "channels ticks"]  # sum of squares in each tick, of at most two channels
    loudness: Loudness
    seconds: float


class SoundMeter:
    """Measures a stream of samples as they are decoded."""

    def __init__(self, sample_rate: int) -> None:
        self.rate, self.samples = sample_rate, 0
        self.onsets, self.loudness = SoundOnsets(sample_rate), LoudnessMeter(sample_rate)
        size = round(BLOCK_SECONDS * TICKS)  # ticks
        self.blocks = Blocks(max(1, round(size * sample_rate / TICKS)), before=0, after=0)
        self.energy: list[Float[Tensor, "channels n"]] = []

    def add(self, samples: Float[Tensor, "channels s"]) -> None:
        """The next samples, in -1..1."""
        self.samples += samples.shape[1]
        self.onsets.add(samples)
        self.loudness.add(samples)
        for part in self.blocks.add(samples[:2].float()):
            self._energy(part)

    def result(self) -> Sound | None:
        """The measurements of all samples; None if there were none."""
        if not self.samples:
            return None
        for part in self.blocks.end():
            self._energy(part)
        energy = torch.cat(self.energy, dim=1)
        return Sound(self.onsets.trace(), energy, self.loudness.result(), self.samples / self.rate)

    def _energy(self, part: Float[Tensor, "channels block"]) -> None:
        count = -(-part.shape[1] * TICKS // self.rate)
        tick = torch.arange(part.shape[1]) * TICKS // self.rate
        self.energy.append(torch.zeros(len(part), count).index_add_(1, tick, part.square()))


def sound_of(waveform: Float[Tensor, "channels s"], *, sample_rate: int) -> Sound | None:
    """The measurements of a waveform; None if it is empty."""
    meter = SoundMeter(sample_rate)
    meter.add(waveform)
    return meter.result()
