"""Tables of record: measurements with the hashes of the weights and the git commit, as JSON, as a page and as a plot."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..core.files import atomic_output
from ..core.statistics import Interval, holm
from ..core.weights import WEIGHTS, load_weights
from ..models.choose import POCKET, condition_files, model_files
from .readings import AUDIO_PROBE, VIDEO_PROBE
from .runner import Rows

TABLES = WEIGHTS / "bench"
PAGES = WEIGHTS.parent / "docs" / "results"  # pages of the tables of record
DECODERS = ("video-codec", "audio-codec")  # a new encoder in these files means a new network, with a hash of its own
PROBES = {"audio-probe": AUDIO_PROBE, "video-probe": VIDEO_PROBE}
CONDITIONS = {
    "plan": ("plan",),
    "prior": ("plan", "prior"),
    "adapter": ("adapter",),
    "timed": ("plan", "timed"),
}  # suite -> conditions it measures
WITHOUT_MODEL = {
    "adapter-identifiability": (),
    "javisbench": (),
    "meter": ("audio-probe", "video-probe"),
    "meter-validation": (),
}  # suites that do not use the generating model, with the weights they do use


def measured_with(suite: str, model: str = POCKET) -> dict[str, Path]:
    """The weights files that a suite's results on ``model`` depend on."""
    if suite in WITHOUT_MODEL:
        return {name: PROBES[name] for name in WITHOUT_MODEL[suite]}
    layers = (condition_files(model, condition) for condition in CONDITIONS.get(suite, ()))
    return {**model_files(model), **PROBES, **{kind: path for files in layers for kind, path in files.items()}}


def replaced(data: dict[str, Any]) -> set[str]:
    """The kinds of weights of ``data``, a table as JSON, whose shipped files are not those that it was measured with."""
    shipped = measured_with(data["suite"], data.get("model", POCKET))
    return {kind for kind, path in shipped.items() if load_weights(path, kind).sha256 != data["weights"].get(kind)}


@dataclass(frozen=True)
class Table:
    """One suite's result. ``rows``: variant -> stratum -> metric -> value; differences are named ``A-minus-B``."""

    suite: str
    prompts: int
    seed: int
    rows: dict[str, Rows]
    notes: dict[str, Any] = field(default_factory=dict)  # texts and scores that say how the table was measured
    model: str = POCKET

    @property
    def title(self) -> str:
        """The suite, and the model if it is not the pocket network."""
        return self.suite if self.model == POCKET else f"{self.suite}, {self.model}"

    def to_json(self) -> dict[str, Any]:
        """The table as JSON, with p-values adjusted (Holm) within each metric's family of differences."""
        rows = [
            {"variant": variant, "stratum": stratum, "metrics": {name: v.to_json() for name, v in metrics.items()}}
            for variant, strata in self.rows.items()
            for stratum, metrics in strata.items()
        ]
        _adjust(rows)
        weights = {
            kind: load_weights(path, kind).sha256 for kind, path in measured_with(self.suite, self.model).items()
        }
        own = {} if self.model == POCKET else {"model": self.model}
        head = {"suite": self.suite, **own, "prompts": self.prompts, "seed": self.seed}
        return {**head, "weights": weights, "commit": commit(), "notes": self.notes, "rows": rows}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Table:
        """The table that ``to_json`` wrote, with unadjusted p-values."""
        rows: dict[str, Rows] = {}
        for row in data["rows"]:
            metrics = {name: _interval(value) for name, value in row["metrics"].items()}
            rows.setdefault(row["variant"], {})[row["stratum"]] = metrics
        return cls(data["suite"], data["prompts"], data["seed"], rows, data["notes"], data.get("model", POCKET))


def _interval(value: dict[str, Any]) -> Interval:
    low, high = value["ci95"]
    return Interval(value["mean"], low, high, value["n"], value.get("p"))


def _adjust(rows: list[dict[str, Any]]) -> None:
    """Add Holm-adjusted p-values to each metric's differences, over all strata."""
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for name, value in row["metrics"].items():
            if "p" in value:
                families.setdefault(name, []).append(value)
    for family in families.values():
        for value, p in zip(family, holm([value["p"] for value in family]), strict=True):
            value["p_holm"] = round(p, 5)


def commit() -> str:
    """The git commit of the pack, or 'unknown' outside a checkout."""
    command = ["git", "rev-parse", "HEAD"]  # the git of the PATH, as any shell takes it
    answer = subprocess.run(command, cwd=WEIGHTS, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() or "unknown"


def cell(value: Interval) -> str:
    """A value as the pages print it: mean and 95 % interval."""
    digits = 1 if abs(value.mean) >= 10 else 2
    return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def markdown(table: Table, picture: str = "") -> str:
    """The table as a page: one table per variant, one column per stratum. ``picture`` is the name of its plot; the suite's if empty."""
    parts = [
        f"# Suite {table.title}",
        f"{table.prompts} prompts, seed {table.seed}; mean [95 % bootstrap interval over prompts].",
        f"![{table.suite}]({picture or table.suite}.png)",
        *(_note(name, value) for name, value in table.notes.items()),
    ]
    for variant, strata in table.rows.items():
        names = dict.fromkeys(name for metrics in strata.values() for name in metrics)
        lines = [f"| {variant} | " + " | ".join(strata) + " |", "|---" * (len(strata) + 1) + "|"]
        for name in names:
            values = (metrics.get(name) for metrics in strata.values())
            lines.append(f"| {name} | " + " | ".join("" if v is None else cell(v) for v in values) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _note(name: str, value: Any) -> str:
    """A note as a line, as a list, or as a table if it holds scores by setting."""
    if isinstance(value, dict) and not any(isinstance(scores, dict) for scores in value.values()):
        return "\n".join([f"**{name}**\n", *(f"- {key}: {scores}" for key, scores in value.items())])
    if not (isinstance(value, dict) and all(isinstance(scores, dict) for scores in value.values())):
        return f"**{name}**: {value}"
    columns = dict.fromkeys(column for scores in value.values() for column in scores)
    lines = [f"| {name} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    cells = ((key, [f"{scores[c]:.3f}" if c in scores else "" for c in columns]) for key, scores in value.items())
    return "\n".join([*lines, *(f"| {key} | " + " | ".join(row) + " |" for key, row in cells)])


def plot(table: Table, metric: str) -> Figure:
    """``metric`` of every variant by stratum, with its intervals; rows of differences are left out."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    rows = {
        name: strata
        for name, strata in table.rows.items()
        if "-minus-" not in name and any(metric in m for m in strata.values())
    }
    strata = list(dict.fromkeys(s for row in rows.values() for s, metrics in row.items() if metric in metrics))
    for k, (name, row) in enumerate(rows.items()):
        values = [row.get(s, {}).get(metric) for s in strata]
        shown = [(x + (k - (len(rows) - 1) / 2) * 0.8 / len(rows), v) for x, v in enumerate(values) if v is not None]
        means = [v.mean for _, v in shown]
        spread = [[v.mean - v.low for _, v in shown], [v.high - v.mean for _, v in shown]]
        axes.errorbar([x for x, _ in shown], means, spread, fmt="o", capsize=3, label=name)
    axes.set_xticks(range(len(strata)), strata, rotation=90 if len(strata) > 8 else 0)
    axes.set_ylabel(metric)
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    axes.set_title(f"Suite {table.title}: {table.prompts} prompts, seed {table.seed}")
    return figure


def write(table: Table, path: Path, *, figure: Figure) -> list[Path]:
    """Write ``table`` to ``path`` (JSON), with its page and its plot."""
    return write_files(path, table.to_json(), markdown(table, path.stem), figure)


def write_files(path: Path, data: dict[str, Any], text: str, figure: Figure) -> list[Path]:
    """Write ``data`` to ``path`` (JSON), the page ``text`` and its plot. The pages of tables of record are written to docs/results, other
    pages beside the JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    folder = PAGES if path.parent.resolve() == TABLES.resolve() else path.parent
    return [path, *write_page(folder / path.stem, text, figure)]


def write_page(stem: Path, text: str, figure: Figure) -> list[Path]:
    """Write the page ``stem``.md and its plot ``stem``.png."""
    page, picture = stem.with_suffix(".md"), stem.with_suffix(".png")
    page.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with atomic_output(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    return [page, picture]
