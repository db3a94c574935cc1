"""Training of the planner (Baton's first stage, with our addition of the timeline): the language model learns captions and timelines,
the towers learn the features of the clips, in one pass."""

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
from .parallel import denominator
from .plan import PlanCache

NO_TIMELINE = 0.15  # share of samples without a timeline: the paper's mode, and the null of plan guidance


@dataclass(frozen=True)
class PlannerBatch:
    """Token ids of prompts with their timelines [b, l], which timelines agree with their prompt (edited ones do not), and the
    standardised features of the clips."""

    written: Tensor
    follows: Bool[Tensor, " b"]
    targets: Streams[Tensor]


class PlannerObjective(nn.Module):
    """Cross-entropy of the tokens of the timeline, plus the squared error of plan tokens with equal weight for both streams. An edited
    timeline is an input but not a target of the language model."""

    def __init__(self, planner: VAPlanner) -> None:
        super().__init__()
        self.planner = planner

    def forward(self, batch: PlannerBatch) -> dict[str, Tensor]:
        logits, planned = self.planner(batch.written)
        # The loss covers the tokens after the one that ends the prompt.
        next_token = batch.written[:, 1:]
        after_prompt = (batch.written == SOUND).cumsum(1)[:, :-1] > 0
        counted = after_prompt & (next_token != PAD) & batch.follows[:, None]
        words = F.cross_entropy(logits[:, :-1].transpose(1, 2).float(), next_token, reduction="none")
        language = (words * counted).sum() / denominator(counted.sum())
        errors = planned.map(lambda z, target: (z.float() - target).square().mean(), batch.targets)
        video, audio = errors.both()
        return {
            "loss": language + video + audio,
            "language": language.detach(),
            "video": video.detach(),
            "audio": audio.detach(),
        }


class PlannerStage:
    """Training of the pocket planner, scored by ``judge``."""

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
        self.no_timeline = language.write(None)
        self.edited = torch.tensor([scene.edited for scene in cache.scenes])
        longest = max(len(row) for rows in self.prompts for row in rows)
        self.width = longest + max(map(len, self.timelines))

    def batch(self, generator: torch.Generator, size: int) -> PlannerBatch:
        pick = torch.randint(len(self.prompts), (size,), generator=generator)
        wording = torch.randint(PARAPHRASES, (size,), generator=generator)
        follows = ~self.edited[pick]
        without = (torch.rand(size, generator=generator) < NO_TIMELINE) & follows
        rows = [
            self.prompts[i][p] + (self.no_timeline if w else self.timelines[i])
            for i, p, w in zip(pick.tolist(), wording.tolist(), without.tolist(), strict=True)
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
    """The planner's tokens for each clip of ``cache``, from its first caption and its timeline, in float16."""
    language = planner.language
    rows = [language.prompt(caption(s)) + language.write(timeline_of(s)) for s in cache.scenes]
    width, found = max(map(len, rows)), []
    for start in range(0, len(rows), batch):
        standard = planner(batched(rows[start : start + batch], width=width))[1]
        found.append(planner.destandardised(standard).map(Tensor.half))
    return Streams(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def judge_planner(planner: VAPlanner, *, prompts: Sequence[Prompt], probes: Probes) -> dict[str, float]:
    """'score': share of the variance of the targets that is explained with the true timeline, averaged over both streams; 'bare': the
    same without a timeline; 'right': share of written timelines with the kinds, places, sounds and visibility of the caption."""
    true = oracle_plan(probes, prompts)
    found: dict[str, list[float]] = {"timeline": [], "bare": [], "right": []}
    for i, prompt in enumerate(prompts):
        oracle = timeline_of(prompt.scene)
        drawn = planner.write(prompt.text, "", seed=prompt.seed)
        found["right"].append(float(_contents(drawn) == _contents(oracle)))
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


def _contents(timeline: Timeline) -> set[tuple[str, str, bool, bool]]:
    return {(event.what, event.where, event.heard, event.seen) for event in timeline.events}
