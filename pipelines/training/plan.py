"""Training of plan layers on the frozen base (Baton's second and third stage): first with the features of the clips as plans, then also
with the tokens that the frozen planner predicts from the clips' timelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bench.plan_targets import plan_targets
from ..bench.readings import Probes
from ..core.conditions import PlacedTokens, PlanStreams
from ..core.sizes import VIDEO_STRIDE
from ..core.streams import Streams
from ..models.addons.plan import PlanReader
from ..models.planner.grid import PER_BLOCK, PlanGrid
from ..world import Scene, irregular
from .add_on import AddOnStage
from .data import CacheSpec, ClipEncoder, LatentCache, encoded, read_clips

FEATURES = ("plan_video", "plan_audio")  # entries of a file of encoded clips
EDITED = 0.4  # share of the clips with moved events, as after an artist's edit
PREDICTED = 0.5  # share of plans in the third stage that the planner predicts; the others are features of the clips


def plan_features(probes: Probes, frames: Tensor, waveform: Tensor) -> dict[str, Tensor]:
    """The features of true clips as they are stored, in float16: frames [b, t, 3, h, w], waveforms [b, 2, samples]."""
    features = plan_targets(probes, frames, waveform).map(Tensor.half)
    return dict(zip(FEATURES, features.both(), strict=True))


@dataclass(frozen=True)
class PlanCache:
    """Encoded clips, their scenes (none for a user's own clips), and the features of the same clips: video [n, tokens, d],
    audio [n, tokens, d'], float16."""

    scenes: list[Scene]
    latents: LatentCache
    features: Streams[Tensor]
    grid: PlanGrid

    @classmethod
    def build(cls, spec: CacheSpec, encoder: ClipEncoder, probes: Probes) -> PlanCache:
        """Render and encode the scenes of ``spec``, or read them back from its file. In two of five scenes events are moved, so that
        the layers learn to follow a plan even if the caption suggests other times."""
        scenes = spec.scenes()
        regular = round((1 - EDITED) * spec.count)
        scenes = scenes[:regular] + [irregular(scene) for scene in scenes[regular:]]

        def encode(part: Sequence[Scene], frames: Tensor, waveform: Tensor) -> dict[str, Tensor]:
            return {**encoder(part, frames, waveform), **plan_features(probes, frames, waveform)}

        return cls._of(scenes, encoded(spec.path, scenes, encode))

    @classmethod
    def read(cls, path: Path) -> PlanCache:
        """A user's own clips, encoded by ``duet data``.

        Raises:
            ValueError: not a file of encoded clips, or one without plan features.
        """
        tensors = read_clips(path)
        missing = [name for name in FEATURES if name not in tensors]
        if missing:
            raise ValueError(
                f"{path} has no plan features ({', '.join(missing)}). Encode the clips again with 'duet data'."
            )
        return cls._of([], tensors)

    @classmethod
    def _of(cls, scenes: list[Scene], tensors: dict[str, Tensor]) -> PlanCache:
        features = Streams(*(tensors[name] for name in FEATURES))
        frames = tensors["video"].shape[2] * VIDEO_STRIDE[0]
        grid = PlanGrid.of(frames, features.both()[1].shape[1] * PER_BLOCK)
        return cls(scenes, LatentCache.of(tensors), features, grid)

    def moments(self) -> Streams[tuple[Tensor, Tensor]]:
        """Mean and deviation of each feature channel."""
        return self.features.map(lambda z: (z.float().mean((0, 1)), z.float().std((0, 1)).clamp_min(1e-3)))


class PlanStage(AddOnStage):
    """Training of plan layers: Baton's third stage if ``predicted`` holds the planner's tokens for the clips, otherwise the second."""

    def __init__(
        self,
        name: str,
        cache: PlanCache,
        layers: PlanReader,
        *parts: Any,
        predicted: Streams[Tensor] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(name, cache.latents, layers, *parts, **settings)
        self.cache, self.predicted = cache, predicted

    def condition(self, pick: Tensor, shown: Tensor, generator: torch.Generator) -> PlanStreams:
        features = self.cache.features.map(lambda z: z[pick].float())
        if self.predicted is not None:
            use_predicted = torch.rand(len(pick), generator=generator) < PREDICTED
            features = features.map(
                lambda true, z: torch.where(use_predicted[:, None, None], z[pick].float(), true), self.predicted
            )
        return self.cache.grid.place(features).map(lambda p: PlacedTokens(p.tokens, p.places, shown))
