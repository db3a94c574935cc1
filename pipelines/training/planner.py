"""Training of the planner: the language model on captions and timelines, the towers on the features of the true clips, in one
pass (Baton's first stage, and the timeline that we add)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from ..bench.plan_targets import oracle_plan
from ..bench.prompts import Prompt
from ..bench.readings import Probes
from ..core.streams import Streams
from ..core.timeline import Timeline
from ..core.weights import save_weights, to_half
from ..models.planner.language import PAD, SOUND
from ..models.planner.planner import PlannerConfig, VAPlanner, batched
from ..world import caption
from ..world.truth import timeline_of
from .data import PARAPHRASES
from .plan import PlanCache

BARE = 0.15  # share of samples without a timeline: the paper's mode, and the null of plan guidance


@dataclass(frozen=True)
class PlannerBatch:
    """Prompts with timelines [b, l], the standardised features of their clips, and which timelines follow from their prompts."""

    written: Tensor
    follows: Bool[Tensor, " b"]
    targets: Streams[Tensor]


class PlannerObjective(nn.Module):
    """Cross-entropy of the timeline's tokens, and the squared error of planned tokens, each stream counting alike. An edited
    timeline is read and not learnt to be written."""

    def __init__(self, planner: VAPlanner) -> None:
        super().__init__()
        self.planner = planner

    def forward(self, batch: PlannerBatch) -> dict[str, Tensor]:
        logits, planned = self.planner(batch.written)
        # The loss covers the tokens after the one that ends the prompt.
        following = batch.written[:, 1:]
        begun = (batch.written == SOUND).cumsum(1)[:, :-1] > 0
        learnt = begun & (following != PAD) & batch.follows[:, None]
        words = F.cross_entropy(logits[:, :-1].transpose(1, 2).float(), following, reduction="none")
        language = (words * learnt).sum() / learnt.sum().clamp_min(1)
        errors = planned.map(lambda z, target: (z.float() - target).square().mean(), batch.targets)
        video, audio = errors.both()
        return {
            "loss": language + video + audio,
            "language": language.detach(),
            "video": video.detach(),
            "audio": audio.detach(),
        }


class PlannerStage:
    """The pocket planner, judged by ``judge``."""

    name = "planner"

    def __init__(
        self,
        cache: PlanCache,
        planner: VAPlanner,
        path: Path,
        *,
        judge: Callable[[VAPlanner], dict[str, float]],
        before: dict[str, Any] | None = None,
    ) -> None:
        self.cache, self.path, self.judge, self.before = cache, path, judge, before or {}
        self.objective = PlannerObjective(planner)
        self.moments = planner.moments()
        language = planner.language
        self.prompts = [[language.prompt(caption(s, paraphrase=p)) for p in range(PARAPHRASES)] for s in cache.scenes]
        self.timelines = [language.write(timeline_of(scene)) for scene in cache.scenes]
        self.bare = language.write(None)
        self.edited = torch.tensor([scene.edited for scene in cache.scenes])
        longest = max(len(row) for rows in self.prompts for row in rows)
        self.width = longest + max(map(len, self.timelines))

    def batch(self, generator: torch.Generator, size: int) -> PlannerBatch:
        pick = torch.randint(len(self.prompts), (size,), generator=generator)
        wording = torch.randint(PARAPHRASES, (size,), generator=generator)
        follows = ~self.edited[pick]
        bare = (torch.rand(size, generator=generator) < BARE) & follows
        rows = [
            self.prompts[i][p] + (self.bare if b else self.timelines[i])
            for i, p, b in zip(pick.tolist(), wording.tolist(), bare.tolist(), strict=True)
        ]
        targets = self.cache.features.map(lambda z, moments: (z[pick].float() - moments[0]) / moments[1], self.moments)
        return PlannerBatch(batched(rows, width=self.width), follows, targets)

    def score(self) -> dict[str, float]:
        return self.judge(self.objective.planner)

    def save(self, record: dict[str, Any]) -> list[Path]:
        planner = self.objective.planner
        config: PlannerConfig = planner.config
        record = {**record, "clips": len(self.prompts)} | ({"before": self.before} if self.before else {})
        save_weights(self.path, to_half(planner), kind="pocket-planner", config=vars(config), record=record)
        return [self.path]


@torch.inference_mode()
def predicted_features(planner: VAPlanner, cache: PlanCache, *, batch: int = 64) -> Streams[Tensor]:
    """The planner's tokens for each clip of ``cache``, from its first caption and its own timeline, in float16."""
    language = planner.language
    rows = [language.prompt(caption(s)) + language.write(timeline_of(s)) for s in cache.scenes]
    width, found = max(map(len, rows)), []
    for start in range(0, len(rows), batch):
        standard = planner(batched(rows[start : start + batch], width=width))[1]
        found.append(planner.destandardised(standard).map(Tensor.half))
    return Streams(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def judge_planner(planner: VAPlanner, *, prompts: Sequence[Prompt], probes: Probes) -> dict[str, float]:
    """'score': the share of the targets' variance that is explained, given the oracle's timeline, over both streams; 'bare':
    the same without a timeline; 'right': the share of drawn timelines with the right things in the right places, heard and
    seen as the caption says."""
    true = oracle_plan(probes, prompts)
    found: dict[str, list[float]] = {"timeline": [], "bare": [], "right": []}
    for i, prompt in enumerate(prompts):
        oracle = timeline_of(prompt.scene)
        drawn = planner.write(prompt.text, "", seed=prompt.seed)
        found["right"].append(float(_things(drawn) == _things(oracle)))
        for name, timeline in (("timeline", oracle), ("bare", None)):
            planned = planner.plan(prompt.text, "", timeline).streams
            shares = [
                1 - ((mine.tokens[0] - theirs.tokens[i]) / deviation).square().mean()
                for mine, theirs, deviation in zip(
                    planned.both(), true.both(), (planner.video_deviation, planner.audio_deviation), strict=True
                )
            ]
            found[name].append(float(sum(shares) / len(shares)))
    means = {name: fmean(values) for name, values in found.items()}
    return {"score": means["timeline"], **means}


def _things(timeline: Timeline) -> set[tuple[str, str, bool, bool]]:
    return {(event.what, event.where, event.heard, event.seen) for event in timeline.events}
