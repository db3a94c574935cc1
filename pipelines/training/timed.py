"""Training of timed text: LoRA on the text attention of the frozen base, with texts that hold only while their events happen (ours).

Letters: b batch, n latent frames of a stream, g texts, m text tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..core.streams import Streams
from ..core.timed_events import TimedEvent, TimedEvents
from ..core.weights import save_weights
from ..guidance.timed import StreamWindows, TimedText
from ..models.backbone import Backbone
from ..models.pocket.lora import add_lora, lora_tensors
from ..models.pocket.network import STREAMS, TwinStreamDiT
from ..models.pocket.text import TextEncoder
from ..models.pocket.timed import pocket_edges, read_windows, timed_text
from ..world import Scene, caption
from ..world.edit import is_separated
from ..world.truth import timeline_of
from .data import LatentCache
from .flow import TEXT_DROP, FlowBatch, FlowObjective, Recipe, make_batch

N = TypeVar("N", bound=Backbone)
UNTIMED = 0.15  # share of the clips whose caption holds throughout, so that prompts without times keep their meaning
TEXTS = 512  # encoded at once


@dataclass(frozen=True)
class TimedBatch:
    """A flow batch, and for each stream its text states [b, m, width] and their log-shares [b, n, m]."""

    flow: FlowBatch
    states: Streams[Tensor]
    shares: Streams[Tensor]


def true_windows(scenes: Streams[Scene], edges: Streams[Tensor]) -> Streams[StreamWindows]:
    """The windows of a clip's own caption, and of the events of the scene that is seen and of the scene that is heard."""
    seen, heard = scenes.both()
    text, events = caption(seen), (*_events(seen, "video"), *_events(heard, "audio"))
    return timed_text(Streams(text, text), TimedEvents(events)).windows(edges)


def _events(scene: Scene, stream: str) -> tuple[TimedEvent, ...]:
    """The events of a scene in one stream."""
    found = TimedEvents.of_timeline(timeline_of(scene), lambda event: event.what).events
    return tuple(replace(event, streams=(stream,)) for event in found if stream in event.streams)


def throughout(text: str, edges: Streams[Tensor]) -> Streams[StreamWindows]:
    """The windows of one text that holds for the whole clip."""
    return TimedText(Streams((), ()), Streams(text, text)).windows(edges)


class TextTable:
    """The states of every text of the training clips, computed once: the text encoder is frozen."""

    def __init__(self, encoder: TextEncoder, windows: Sequence[Streams[StreamWindows]]) -> None:
        texts = sorted({text for row in windows for part in row.present() for text in part.texts})
        self.index = {text: k for k, text in enumerate(texts)}
        parts = [texts[k : k + TEXTS] for k in range(0, len(texts), TEXTS)]
        states = torch.cat([encoder.embed(part, as_written=True).half() for part in tqdm(parts, desc="texts")])
        used = int(states.abs().amax(2).amax(0).nonzero().max()) + 1
        self.states = states[:, :used].contiguous()

    def __call__(self, texts: list[str]) -> Tensor:
        """States [g, words, width]."""
        return self.states[[self.index[text] for text in texts]].float()


class TimedObjective(nn.Module):
    """The flow-matching loss of the frozen base with LoRA on its text attention, which alone is trained."""

    def __init__(self, network: TwinStreamDiT, encoder: TextEncoder, *, rank: int) -> None:
        super().__init__()
        network.requires_grad_(False)
        encoder.requires_grad_(False)
        add_lora(network, STREAMS, rank=rank)
        self.flow = FlowObjective(network, encoder)

    def forward(self, batch: TimedBatch) -> dict[str, Tensor]:
        clean = self.flow.clean(batch.flow, timed=(batch.states, batch.shares))
        return self.flow.losses(clean, batch.flow.x0, batch.flow)


class TimedStage(Generic[N]):
    """Training on the ``latents`` of ``scenes``, of which one is seen and one heard in each clip, scored by ``judge``."""

    name: str

    def __init__(
        self,
        scenes: Sequence[Streams[Scene]],
        latents: LatentCache,
        network: N,
        encoder: TextEncoder,
        path: Path,
        *,
        rank: int,
        recipe: Recipe,
        base: str,
        judge: Callable[[N, TextEncoder], dict[str, float]],
    ) -> None:
        self.latents, self.network, self.encoder, self.path = latents, network, encoder, path
        self.rank, self.recipe, self.base, self.judge = rank, recipe, base, judge
        edges = pocket_edges(network.config, Streams(latents.video.shape[2], latents.audio.shape[2]))
        self.timed = [true_windows(pair, edges) for pair in tqdm(scenes, desc="windows")]
        # A caption alone means that its objects act, in both streams.
        self.whole = [
            windows if is_separated(pair) else throughout(caption(pair.both()[0]), edges)
            for pair, windows in zip(scenes, self.timed, strict=True)
        ]
        self.none = throughout("", edges)
        self.table = TextTable(encoder, [*self.timed, *self.whole, self.none])
        self.null = encoder.tokenizer.batch([""])[:, : latents.tokens.shape[-1]]
        self.objective = self.make_objective()

    def make_objective(self) -> nn.Module:
        """The loss of a ``TimedBatch``."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """What was trained, under the names of ComfyUI's LoRA files."""
        raise NotImplementedError

    def batch(self, generator: torch.Generator, size: int) -> TimedBatch:
        """Random clips with tasks; most have their events as windows, some their caption, and one in ten no text."""
        flow = make_batch(self.latents, size, self.null, generator, recipe=self.recipe)
        draw = torch.rand(size, generator=generator)
        rows = [
            self.none if x < TEXT_DROP else self.whole[i] if x < TEXT_DROP + UNTIMED else self.timed[i]
            for i, x in zip(flow.pick.tolist(), draw.tolist(), strict=True)
        ]
        read = read_windows(rows, self.table)
        return TimedBatch(flow, read.states, read.shares)

    def score(self) -> dict[str, float]:
        return self.judge(self.network, self.encoder)

    def save(self, record: dict[str, Any]) -> list[Path]:
        config = {"rank": self.rank, "base": self.base}
        record = {**record, "clips": len(self.latents.video), "base": self.base}
        halves = {name: z.half() for name, z in self.tensors().items()}
        save_weights(self.path, halves, kind=self.path.stem, config=config, record=record)
        return [self.path]


class PocketTimedStage(TimedStage[TwinStreamDiT]):
    """Training of timed text on the frozen pocket network."""

    name = "timed"

    def make_objective(self) -> TimedObjective:
        return TimedObjective(self.network, self.encoder, rank=self.rank)

    def tensors(self) -> dict[str, Tensor]:
        return lora_tensors(self.network, STREAMS)
