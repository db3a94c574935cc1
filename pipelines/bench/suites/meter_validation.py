"""Accuracy and calibration of the sync meter on clips with known delays that the pocket world's renderers did not draw.

Each row of the table is a kind of clip; its strata are clips whose audio belongs to the video, and clips with unrelated audio. Further
rows compare the stated confidence with the share of clips that are within one frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from ...core.statistics import mean_interval
from ...sync.meter import WEIGHTS, Agreement, agreement
from ...sync.onsets import video_onsets
from ..meter_clips import Labelled, clips, signals
from ..meter_scenes import has_speech
from ..runner import Rows, Run
from ..scores import Scores
from ..tables import Table

SHARE = 0.004  # clips of each kind, as a share of the requested number of prompts
RELATED, UNRELATED, BOTH = "related", "unrelated audio", "all clips"
CONFIDENCE = "confidence"
ALL, ENCODED, SHORT, LONG = "all kinds", "H.264 and AAC files", "2 s", "4 s and longer"
ROUNDS, RIDGE = 30, 0.5  # Newton steps of the logistic regression, and its penalty


@dataclass(frozen=True)
class Outcome:
    """A clip's label and what the meter reports."""

    kind: str
    seconds: float
    encoded: bool
    related: bool
    right: bool  # best lag within one frame of the true delay
    covered: bool  # true delay in the interval
    error: float  # seconds
    found: Agreement

    def scores(self) -> Scores:
        """Metrics of this clip."""
        evidence = self.found.offset is not None
        out = {"evidence": float(evidence), "wrong_evidence": float(evidence and not self.right)}
        if not self.related:
            return out
        inside = {"within_a_frame": float(self.right), "in_interval": float(self.covered)}
        return out | ({**inside, "error_ms": 1000 * self.error} if evidence else {})


def outcome(labelled: Labelled) -> Outcome:
    """What the meter reports of a clip."""
    read = signals(labelled)
    assert read.sound is not None
    assert read.changes is not None
    assert read.times is not None
    found = agreement(read.sound.onsets, video_onsets(read.changes, read.times, seconds=read.video_seconds))
    right, covered, error = False, False, 0.0
    if labelled.late is not None and found.interval is not None and found.best is not None:
        error = abs(found.best - labelled.late)
        right = error <= 1 / labelled.clip.fps
        covered = found.interval[0] <= labelled.late <= found.interval[1]
    seconds = len(labelled.clip.frames) / labelled.clip.fps
    return Outcome(labelled.kind, seconds, labelled.encoded, labelled.late is not None, right, covered, error, found)


def measure(run: Run) -> Table:
    """The meter on ``SHARE`` of the prompts as clips of each kind."""
    torch.set_num_threads(run.executor.workers)
    count, found = max(2, round(SHARE * run.prompts)), []
    for labelled in clips(run.seed, count):
        found.append(outcome(labelled))
        run.on_chunk(1)
    groups = {ALL: found, ENCODED: [o for o in found if o.encoded]}
    groups |= {SHORT: [o for o in found if o.seconds <= 2], LONG: [o for o in found if o.seconds > 2]}
    groups |= {kind: [o for o in found if o.kind == kind] for kind in dict.fromkeys(o.kind for o in found)}
    rows: dict[str, Rows] = {name: strata for name, group in groups.items() if (strata := _by_relation(group))}
    notes = {
        "clips": f"{count} of each kind, and as many with audio of another kind; 24 to 60 fps, 2 to 60 s, delays within 500 ms",
        "speech": "synthesised by espeak-ng" if has_speech() else "left out: espeak-ng is not installed",
        "fit to these clips": ", ".join(f"{w:.2f}" for w in fit(found)),
    }
    return Table("meter-validation", count, run.seed, rows | _calibration(found), notes)


def _by_relation(group: Sequence[Outcome]) -> Rows:
    """Means of the related clips and of the others."""
    strata = {RELATED: [o for o in group if o.related], UNRELATED: [o for o in group if not o.related]}
    return {name: _means([o.scores() for o in part]) for name, part in strata.items() if part}


def _means(scores: Sequence[Scores]) -> dict:
    names = dict.fromkeys(name for s in scores for name in s)
    return {name: mean_interval([s[name] for s in scores if name in s]) for name in names}


def _calibration(found: Sequence[Outcome]) -> dict[str, Rows]:
    """For each tenth of the confidence: its mean, and the share of clips whose best lag is within one frame."""
    rows: dict[str, Rows] = {}
    for tenth in range(10):
        part = [o for o in found if o.found.features and min(9, int(10 * o.found.confidence)) == tenth]
        if part:
            scores = [{"stated": o.found.confidence, "within_a_frame": float(o.right)} for o in part]
            rows[f"{CONFIDENCE} {tenth / 10:.1f} to {(tenth + 1) / 10:.1f}"] = {BOTH: _means(scores)}
    return rows


def fit(found: Sequence[Outcome]) -> list[float]:
    """Constant and weights of a logistic regression of "within one frame" on the features, by Newton's method with a small penalty."""
    known = [o for o in found if o.found.features]
    x = torch.tensor([(1.0, *o.found.features) for o in known], dtype=torch.float64)
    y = torch.tensor([float(o.right) for o in known], dtype=torch.float64)
    penalty = RIDGE * torch.diag(torch.tensor([0.0] + [1.0] * len(WEIGHTS), dtype=torch.float64))
    weights = torch.zeros(1 + len(WEIGHTS), dtype=torch.float64)
    for _ in range(ROUNDS):
        p = torch.sigmoid(x @ weights)
        slope = x.T @ (p - y) + penalty @ weights
        bend = (x * (p * (1 - p))[:, None]).T @ x + penalty + 1e-6 * torch.eye(len(weights), dtype=torch.float64)
        weights = weights - torch.linalg.solve(bend, slope)
    return weights.tolist()


def draw(table: Table) -> Figure:
    """Stated confidence against the share within one frame, and evidence and accuracy of each kind."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    tenths = [strata[BOTH] for name, strata in table.rows.items() if name.startswith(CONFIDENCE)]
    stated, shares = [t["stated"].mean for t in tenths], [t["within_a_frame"] for t in tenths]
    spread = [[v.mean - v.low for v in shares], [v.high - v.mean for v in shares]]
    left.plot([0, 1], [0, 1], color="#999", linewidth=1)
    left.errorbar(stated, [v.mean for v in shares], spread, fmt="o", capsize=3)
    for x, value in zip(stated, shares, strict=True):
        left.annotate(str(value.n), (x, value.mean), xytext=(6, -10), textcoords="offset points", fontsize=7)
    left.set(xlabel="stated confidence", ylabel="share within one frame", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    kinds = {name: strata[RELATED] for name, strata in table.rows.items() if RELATED in strata}
    for k, metric in enumerate(("evidence", "within_a_frame")):
        have = [(i, m[metric].mean) for i, m in enumerate(kinds.values()) if metric in m]
        right.barh([i + 0.4 * k for i, _ in have], [v for _, v in have], height=0.38, label=metric)
    right.set_yticks([i + 0.2 for i in range(len(kinds))], list(kinds), fontsize=8)
    right.invert_yaxis()
    right.set(xlim=(0, 1.02))
    figure.legend(loc="outside lower right", ncols=2, fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(f"The meter on clips with known delays: {table.prompts} of each kind, seed {table.seed}")
    return figure
