"""Training of timed text on LTX-2: LoRA on its text attention, with texts that hold only while their events happen (ours).

Letters: b batch, n latent frames of a stream, m text tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..core.streams import Streams
from ..guidance.timed import HIDDEN, StreamWindows, TimedText
from ..models.ltx2.file import open_ltx2
from ..models.ltx2.network import TEXT_ATTENTION, latent_times
from .lora import LoRABatch, LoRAObjective
from .own_models import Conditions, OwnLTX2
from .shards import ClipShards, Drawn, Sample

States = Callable[[str], dict[str, Tensor]]


@dataclass(frozen=True)
class TimedConditions(Conditions):
    """Text states [b, m, width] of each stream, and for each latent frame the log-shares [b, n, m] with which they are read."""

    shares: Streams[Tensor] = field(kw_only=True)

    def to(self, device: torch.device, dtype: torch.dtype) -> TimedConditions:
        text, shares = (part.map(lambda z: z.to(device, dtype)) for part in (self.text, self.shares))
        return replace(self, text=text, shares=shares)


class TimedLTX2(OwnLTX2):
    """LTX-2 whose text attention learns to read timed text."""

    kind, targets = "ltx2-timed-lora", TEXT_ATTENTION

    def velocity(self, x: Streams[Tensor], sigma: Streams[Tensor], read: Conditions) -> Streams[Tensor]:
        assert isinstance(read, TimedConditions)
        mask = read.shares.map(lambda share, z: share.repeat_interleave(z[0, 0, 0].numel(), dim=1), x)
        return self.model(x, sigma, read.text, fps=read.clips["fps"], mask=mask)


def load_timed(path: Path, device: torch.device, dtype: torch.dtype) -> TimedLTX2:
    """The LTX-2 in this folder or file, frozen."""
    return TimedLTX2(open_ltx2(path).network(device, dtype))


class TimedLoRAObjective(LoRAObjective):
    """The loss of ``LoRAObjective``. A clip reads its caption, and while an event happens the text of that event instead; a clip without
    events reads its caption throughout."""

    model: TimedLTX2

    def batch(self, clips: ClipShards, drawn: Drawn, seed: torch.Generator) -> LoRABatch:
        batch = super().batch(clips, drawn, seed)
        counts = drawn.latents.map(lambda z: z.shape[2])
        edges = latent_times(self.model.model.sizes, counts, fps=float(clips.config["fps"]))
        windows = [sample_text(sample).windows(edges) for sample in drawn.samples]
        return replace(batch, read=timed_conditions(windows, cache(clips.states), clips.config))


def sample_text(sample: Sample) -> TimedText:
    """The timed text of a clip, with the keys of its texts in place of the texts."""
    events = Streams(*(tuple((e.text, e) for e in sample.events if name in e.streams) for name in ("video", "audio")))
    return TimedText(events, Streams(sample.text, sample.text))


def timed_conditions(windows: list[Streams[StreamWindows]], states: States, clips: dict[str, Any]) -> TimedConditions:
    """What clips read whose ``windows`` name the keys of their texts. The texts of a clip stand side by side; clips with fewer tokens are
    padded."""
    rows = [row.map(lambda w, name: _tokens(w, states, name), Streams("video", "audio")) for row in windows]
    columns = Streams(*(list(column) for column in zip(*(row.both() for row in rows), strict=True)))
    text = columns.map(lambda found: pad_sequence([z for z, _ in found], batch_first=True))
    shares = columns.map(lambda found: pad_sequence([s for _, s in found], batch_first=True, padding_value=HIDDEN))
    shares = shares.map(lambda z: z.transpose(1, 2))
    return TimedConditions(text, shares.video[:, 0] > HIDDEN, clips, shares=shares)  # pyright: ignore[reportOptionalSubscript]


def _tokens(windows: StreamWindows, states: States, stream: str) -> tuple[Tensor, Tensor]:
    """States [m, width] of all texts of a stream, and their log-shares [m, n]; padding is hidden."""
    found = [states(key) for key in windows.texts]
    owners = torch.cat([torch.where(row["mask"] > 0, k, -1) for k, row in enumerate(found)])
    text = torch.cat([row.get(stream, row["video"]) for row in found])
    return text, windows.of_tokens(owners)[:-1].T
