"""The probes: small convolutional networks that detect events and objects in decoded audio and frames.

They are trained on rendered clips of the world and their codec reconstructions, never on generated clips.
Letters: b batch, s audio channels, m mel bands, t time, k kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..core.schema import Between, SampleRate
from ..core.sizes import MEL_HOP
from ..core.timeline import PLACES
from ..models.pocket.audio_codec import N_MELS, log_mel
from ..sync.events import Events, pick_peaks
from ..world.scene import COLOURS, KINDS, SOUNDING

ProbeWidth = Annotated[int, Between(16, 4096)]  # channels; a multiple of the 8 groups of a group norm
BINS_PER_FRAME = 4  # onset bins per video frame; one bin is a quarter of the matching tolerance


def _conv1d(inputs: int, outputs: int, *, width: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(inputs, outputs, width, padding=width // 2), nn.GroupNorm(8, outputs), nn.GELU())


class AudioProbe(nn.Module):
    """From stereo log-mel frames to an onset map for each kind, with one bin per mel frame."""

    def __init__(self, *, width: ProbeWidth, sample_rate: SampleRate) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.net = nn.Sequential(
            _conv1d(2 * N_MELS, width), *(_conv1d(width, width) for _ in range(3)), nn.Conv1d(width, len(SOUNDING), 1)
        )

    def forward(self, mel: Float[Tensor, "b 2 m t"]) -> Float[Tensor, "b k t"]:
        """Logits of an onset of each audible kind in each bin."""
        return self.net[-1](self.features(mel))

    def features(self, mel: Float[Tensor, "b 2 m t"]) -> Float[Tensor, "b c t"]:
        """Output of the second-to-last layer."""
        return self.net[:-1](rearrange(mel, "b s m t -> b (s m) t"))

    @torch.inference_mode()
    def events(self, waveform: Float[Tensor, "b 2 samples"]) -> list[Events]:
        """The events heard in each waveform."""
        onsets = self(log_mel(waveform, sample_rate=self.sample_rate)).sigmoid()
        return [pick_peaks(row, names=SOUNDING, rate=self.sample_rate / MEL_HOP) for row in onsets]


@dataclass(frozen=True)
class Seen:
    """What the video probe detects: events, the probability that each of ``KINDS`` is in view, and the probability of each kind in
    each colour at each place."""

    events: Events
    presence: tuple[float, ...]
    things: Float[Tensor, "places kinds colours"]

    @property
    def kinds(self) -> set[str]:
        """The kinds in view with a probability above 0.5."""
        return {kind for kind, p in zip(KINDS, self.presence, strict=True) if p > 0.5}

    def colour(self, kind: str, place: str) -> str:
        """The most likely colour of ``kind`` at ``place``."""
        return COLOURS[int(self.things[PLACES.index(place), KINDS.index(kind)].argmax())]

    def place(self, kind: str) -> str:
        """The most likely place of ``kind``."""
        return PLACES[int(self.things[:, KINDS.index(kind)].amax(1).argmax())]


class VideoProbe(nn.Module):
    """From frames and their differences to an onset map for each kind (four bins per frame), the kinds in view, and the kinds and
    colours at each of ``PLACES``."""

    def __init__(self, *, width: ProbeWidth) -> None:
        super().__init__()
        sizes = [6, width // 2, width, width, width]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.GELU()]
        self.space = nn.Sequential(*layers)
        self.time = nn.Sequential(
            _conv1d(2 * width, 2 * width),
            _conv1d(2 * width, 2 * width),
            nn.Conv1d(2 * width, BINS_PER_FRAME * len(SOUNDING), 1),
        )
        self.kinds = nn.Linear(2 * width, len(KINDS))
        self.things = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, len(KINDS) * len(COLOURS)))

    def forward(
        self, frames: Float[Tensor, "b t 3 h w"]
    ) -> tuple[Float[Tensor, "b k bins"], Float[Tensor, "b kinds"], Float[Tensor, "b places kinds colours"]]:
        """Logits of onsets, of presence, and of kinds and colours at each place."""
        features = self.features(frames)
        # Both means: the largest response finds a small subject, the average counts it.
        pooled = torch.cat([features.amax((2, 3)), features.mean((2, 3))], dim=1)
        series = rearrange(pooled, "(b t) c -> b c t", b=frames.shape[0])
        onsets = rearrange(self.time(series), "b (k p) t -> b k (t p)", p=BINS_PER_FRAME)
        return onsets, self.kinds(series.mean(2)), self._things(features, clips=frames.shape[0])

    def features(self, frames: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "bt c rows columns"]:
        """Features of each frame and its difference from the previous one."""
        change = torch.diff(frames, dim=1, prepend=frames[:, :1])
        return self.space(torch.cat([frames, 3 * change], dim=2).flatten(0, 1))

    def _things(self, features: Float[Tensor, "bt c h w"], *, clips: int) -> Tensor:
        """Logits [b, places, kinds, colours]: one layer applied to the left, middle and right half of the frames, averaged over time."""
        columns = features.shape[-1]
        starts = [round(columns * at) for at in (0.0, 0.25, 0.5)]
        halves = [features[..., s : s + max(1, columns // 2)] for s in starts]
        pooled = [
            torch.cat([half.amax((2, 3)), half.mean((2, 3))], dim=1).unflatten(0, (clips, -1)).mean(1)
            for half in halves
        ]
        return self.things(torch.stack(pooled, dim=1)).unflatten(-1, (len(KINDS), len(COLOURS)))

    @torch.inference_mode()
    def events(self, frames: Float[Tensor, "b t 3 h w"], *, fps: float) -> list[Events]:
        """The events seen in each clip."""
        return [seen.events for seen in self.read(frames, fps=fps)]

    @torch.inference_mode()
    def read(self, frames: Float[Tensor, "b t 3 h w"], *, fps: float) -> list[Seen]:
        """Everything detected in each clip, from one forward pass."""
        onsets, kinds, things = (logits.sigmoid() for logits in self(frames))
        rate = fps * BINS_PER_FRAME
        return [
            Seen(pick_peaks(row, names=SOUNDING, rate=rate), tuple(p.tolist()), at)
            for row, p, at in zip(onsets, kinds, things, strict=True)
        ]


def onset_target(times: Events, *, bins: int, rate: float) -> Float[Tensor, "k bins"]:
    """The training target of a probe: a Gaussian at each event, with a standard deviation of one bin."""
    centres = (torch.arange(bins) + 0.5) / rate
    rows = [torch.tensor(times.get(kind, ())) for kind in SOUNDING]
    return torch.stack(
        [
            torch.exp(-0.5 * ((centres[None] - row[:, None]) * rate) ** 2).amax(0) if len(row) else torch.zeros(bins)
            for row in rows
        ]
    )


def onset_loss(logits: Float[Tensor, "b k t"], target: Float[Tensor, "b k t"]) -> Float[Tensor, ""]:
    """Binary cross-entropy with a higher weight on onsets: they are so rare that an unweighted probe learns to predict none."""
    return F.binary_cross_entropy_with_logits(logits.float(), target, pos_weight=logits.new_tensor(3.0).float())
