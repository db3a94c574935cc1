"""Whether a mask with a price finds shared factors, in a model with a known result. No weights are measured."""

from __future__ import annotations

from matplotlib.figure import Figure

from ...core.statistics import mean_interval
from ..identifiability import PRICES, Result, Setting, learn_masks
from ..runner import Rows, Run
from ..tables import Table

SEEDS = (0, 1, 2)
SETTINGS = {
    "gate, rotation known": Setting("gate"),
    "soft, rotation known": Setting("soft"),
    "gate, rotation unknown": Setting("gate", rotation_known=False),
    "soft, rotation unknown": Setting("soft", rotation_known=False),
    "gate, unknown, 2 contexts": Setting("gate", rotation_known=False, contexts=2),
    "gate, unknown, 24 contexts": Setting("gate", rotation_known=False, contexts=24),
}


def _rows(results: list[Result]) -> Rows:
    """One stratum for each price: means over seeds."""
    rows: Rows = {}
    for price in PRICES:
        part = [result for result in results if abs(result.price - price) < 1e-6]
        names = ("support_f1", "sufficiency", "openness")
        rows[f"{price:g}"] = {name: mean_interval([getattr(result, name) for result in part]) for name in names}
    return rows


def measure(run: Run) -> Table:
    """Every setting at every price; 'prompts' counts seeds, the first of which is ``run.seed``."""
    rows = {}
    for name, setting in SETTINGS.items():
        rows[name] = _rows(learn_masks(setting, seeds=[run.seed + seed for seed in SEEDS]))
        run.on_chunk(len(SEEDS))
    notes = {
        "price": "lambda. A shared factor explains a variance of 1: in theory the mask keeps it at lower prices and drops it at higher "
        "ones"
    }
    return Table("adapter-identifiability", len(SEEDS), run.seed, rows, notes)


def draw(table: Table) -> Figure:
    """Support F1 against the price, one line for each setting."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for name, strata in table.rows.items():
        values = [metrics["support_f1"].mean for metrics in strata.values()]
        axes.plot([float(price) for price in strata], values, marker="o", label=name)
    axes.axvline(1.0, color="#888", linestyle=":", label="theory: closes above 1")
    axes.set(xscale="log", xlabel="price", ylabel="support F1", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 0.06))
    axes.set_title("Shared factors found by the mask")
    return figure
