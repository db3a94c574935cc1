"""The measuring instruments: small convolutional networks that find events and things in decoded sound and frames.

They are trained on the world's renders and on their codec reconstructions, never on generated clips.
Letters: b batch, s channels of sound, m mel bands, t time, k kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..core.sizes import MEL_HOP
from ..core.timeline import PLACES
from ..models.pocket.audio_codec import N_MELS, log_mel
from ..sync.events import Events, pick_peaks
from ..world.scene import COLOURS, KINDS, SOUNDING

BINS_PER_FRAME = 4  # onset bins behind one video frame: a quarter of the tolerance


def _conv1d(inputs: int, outputs: int, *, width: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(inputs, outputs, width, padding=width // 2), nn.GroupNorm(8, outputs), nn.GELU())


class AudioProbe(nn.Module):
    """Stereo log-mel frames to an onset map for each kind, one bin a mel frame."""

    def __init__(self, *, width: int, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.net = nn.Sequential(
            _conv1d(2 * N_MELS, width), *(_conv1d(width, width) for _ in range(3)), nn.Conv1d(width, len(SOUNDING), 1)
        )

    def forward(self, mel: Float[Tensor, "b 2 m t"]) -> Float[Tensor, "b k t"]:
        """Logits of an onset of each sounding kind in each bin."""
        return self.net[-1](self.features(mel))

    def features(self, mel: Float[Tensor, "b 2 m t"]) -> Float[Tensor, "b c t"]:
        """The last layer but one."""
        return self.net[:-1](rearrange(mel, "b s m t -> b (s m) t"))

    @torch.inference_mode()
    def events(self, waveform: Float[Tensor, "b 2 samples"]) -> list[Events]:
        """The events heard in each waveform."""
        onsets = self(log_mel(waveform, sample_rate=self.sample_rate)).sigmoid()
        return [pick_peaks(row, names=SOUNDING, rate=self.sample_rate / MEL_HOP) for row in onsets]


@dataclass(frozen=True)
class Seen:
    """What the picture shows: events, how likely each of ``KINDS`` is in view, and each thing at each place."""

    events: Events
    presence: tuple[float, ...]
    things: Float[Tensor, "places kinds colours"]

    @property
    def kinds(self) -> set[str]:
        """The kinds more likely in view than not."""
        return {kind for kind, p in zip(KINDS, self.presence, strict=True) if p > 0.5}

    def colour(self, kind: str, place: str) -> str:
        """The colour in which ``kind`` is most likely seen at ``place``."""
        return COLOURS[int(self.things[PLACES.index(place), KINDS.index(kind)].argmax())]

    def place(self, kind: str) -> str:
        """Where ``kind`` is most likely seen."""
        return PLACES[int(self.things[:, KINDS.index(kind)].amax(1).argmax())]


class VideoProbe(nn.Module):
    """Frames and their differences to an onset map for each kind (four bins a frame), to the kinds in view, and to
    which kind in which colour stands at each of ``PLACES``."""

    def __init__(self, *, width: int) -> None:
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
        """Logits of onsets, of presence and of things."""
        features = self.features(frames)
        # Both means: the largest response finds a small subject, the average counts it.
        pooled = torch.cat([features.amax((2, 3)), features.mean((2, 3))], dim=1)
        series = rearrange(pooled, "(b t) c -> b c t", b=frames.shape[0])
        onsets = rearrange(self.time(series), "b (k p) t -> b k (t p)", p=BINS_PER_FRAME)
        return onsets, self.kinds(series.mean(2)), self._things(features, clips=frames.shape[0])

    def features(self, frames: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "bt c rows columns"]:
        """What it sees in each frame and in its difference to the one before."""
        change = torch.diff(frames, dim=1, prepend=frames[:, :1])
        return self.space(torch.cat([frames, 3 * change], dim=2).flatten(0, 1))

    def _things(self, features: Float[Tensor, "bt c h w"], *, clips: int) -> Tensor:
        """The same layer looks at the left, the middle and the right half of the picture, over the whole clip."""
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
        return [pick_peaks(row, names=SOUNDING, rate=fps * BINS_PER_FRAME) for row in self(frames)[0].sigmoid()]

    @torch.inference_mode()
    def read(self, frames: Float[Tensor, "b t 3 h w"], *, fps: float) -> list[Seen]:
        """All that is seen in each clip, from one look."""
        onsets, kinds, things = (logits.sigmoid() for logits in self(frames))
        rate = fps * BINS_PER_FRAME
        return [
            Seen(pick_peaks(row, names=SOUNDING, rate=rate), tuple(p.tolist()), at)
            for row, p, at in zip(onsets, kinds, things, strict=True)
        ]

    @torch.inference_mode()
    def presence(self, frames: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b kinds"]:
        """Probability that each of ``KINDS`` is in view."""
        return self(frames)[1].sigmoid()


def onset_target(times: Events, *, bins: int, rate: float) -> Float[Tensor, "k bins"]:
    """What a probe should answer: a Gaussian bump, one bin wide, at each event."""
    centres = (torch.arange(bins) + 0.5) / rate
    rows = [torch.tensor(times.get(kind, ())) for kind in SOUNDING]
    return torch.stack(
        [
            torch.exp(-0.5 * ((centres[None] - row[:, None]) * rate) ** 2).amax(0) if len(row) else torch.zeros(bins)
            for row in rows
        ]
    )


def onset_loss(logits: Float[Tensor, "b k t"], target: Float[Tensor, "b k t"]) -> Float[Tensor, ""]:
    """Cross-entropy with onsets weighted up: without it the probe learns to answer 'never'."""
    return F.binary_cross_entropy_with_logits(logits.float(), target, pos_weight=logits.new_tensor(3.0).float())
