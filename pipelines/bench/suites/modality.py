"""LTX-2's modality guidance, which severs the streams without training for it: its effect at every scale, in either direction and in
both, on development prompts."""

from __future__ import annotations

from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.statistics import Interval
from ...guidance.strategy import UCG, PerStreamCFG
from ..prompts import AUDIBLE, DEVELOPMENT, bench_prompts
from ..runner import Rows, Run, Variant, differences, run_variants, summarise
from ..tables import Table
from .guidance import ATTRIBUTES

TEXT = (1.0, 2.0, 3.0, 5.0)  # scales of plain CFG; modality guidance is added to the best
SCALES = (1.5, 2.0, 3.0, 5.0, 7.0)
DIRECTIONS = {"both": (1, 1), "into video": (1, 0), "into audio": (0, 1)}  # whether a2v and v2a are guided


def grid(text: float) -> list[Variant]:
    """Every scale in every direction, beside CFG with the scale ``text``: CFG + (scale - 1) (x0 - x0 of severed streams), LTX-2's rule."""
    return [
        Variant(f"{name} {scale:g}", UCG("U3", text, text, *(scale if on else 1.0 for on in guided), masked=True))
        for name, guided in DIRECTIONS.items()
        for scale in SCALES
    ]


def measure(run: Run) -> Table:
    """Plain CFG at every scale; then the grid at the scale with the highest synchrony, each setting compared with plain CFG. Only prompts
    with an audible source are used: two fifths of the requested number."""
    prompts = bench_prompts(run.prompts, DEVELOPMENT, strata=AUDIBLE)
    plain = {f"cfg {scale:g}": PerStreamCFG(scale, scale) for scale in TEXT}
    variants = [Variant(name, strategy) for name, strategy in plain.items()]
    records = run_variants(variants, prompts, run)
    rows = {name: summarise(part) for name, part in records.items()}
    best = max(plain, key=lambda name: rows[name]["all"]["sync_normalised"].mean)
    settings = grid(plain[best].video)
    records |= run_variants(settings, prompts, run)
    rows |= {variant.name: summarise(records[variant.name]) for variant in settings}
    rows |= {f"{v.name}-minus-{best}": differences(records[v.name], records[best]) for v in settings}
    return Table("modality", len(prompts), DEVELOPMENT, rows, {"plain": best}, run.model)


def draw(table: Table) -> Figure:
    """Synchrony, and the mean of the attributes, over the scale; a line for each direction. Scale 1 is plain CFG."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plain = table.notes["plain"]
    for k, name in enumerate(DIRECTIONS):
        settings = {1.0: plain, **{scale: f"{name} {scale:g}" for scale in SCALES}}
        _line(left, {s: table.rows[row]["all"]["sync_normalised"] for s, row in settings.items()}, name, shift=0.05 * k)
        right.plot(list(settings), [_attributes(table.rows[row]) for row in settings.values()], "o-", label=name)
    for axes, label in ((left, "sync_normalised"), (right, "kind, side and colour accuracy, mean")):
        axes.set_xlabel("scale")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"Suite {table.title}: {table.prompts} prompts, seed {table.seed}; added to {plain}")
    return figure


def _line(axes: Axes, values: dict[float, Interval], label: str, *, shift: float) -> None:
    means = [v.mean for v in values.values()]
    spread = [[v.mean - v.low for v in values.values()], [v.high - v.mean for v in values.values()]]
    axes.errorbar([scale + shift for scale in values], means, spread, fmt="o-", capsize=3, label=label)


def _attributes(rows: Rows) -> float:
    return fmean(rows["all"][name].mean for name in ATTRIBUTES)
