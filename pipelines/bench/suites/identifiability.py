"""Whether a mask with a price finds what streams share, where the answer is known. No weights are measured."""

from __future__ import annotations

from matplotlib.figure import Figure

from ...core.statistics import mean_interval
from ..identifiability import PRICES, Answer, Question, ask
from ..runner import Rows, Run
from ..tables import Table

SEEDS = (0, 1, 2)
QUESTIONS = {
    "gate, rotation known": Question("gate"),
    "soft, rotation known": Question("soft"),
    "gate, rotation unknown": Question("gate", known=False),
    "soft, rotation unknown": Question("soft", known=False),
    "gate, unknown, 2 contexts": Question("gate", known=False, contexts=2),
    "gate, unknown, 24 contexts": Question("gate", known=False, contexts=24),
}


def _rows(answers: list[Answer]) -> Rows:
    """A stratum for each price: means over seeds."""
    rows: Rows = {}
    for price in PRICES:
        part = [answer for answer in answers if abs(answer.price - price) < 1e-6]
        names = ("support_f1", "sufficiency", "openness")
        rows[f"{price:g}"] = {name: mean_interval([getattr(answer, name) for answer in part]) for name in names}
    return rows


def measure(run: Run) -> Table:
    """Every question at every price; 'prompts' are seeds, and ``run.seed`` shifts them."""
    rows = {}
    for name, question in QUESTIONS.items():
        rows[name] = _rows(ask(question, seeds=[run.seed + seed for seed in SEEDS]))
        run.on_chunk(len(SEEDS))
    notes = {
        "price": "lambda; a shared factor explains a variance of 1, so that theory keeps it below 1 and drops it above"
    }
    return Table("adapter-identifiability", len(SEEDS), run.seed, rows, notes)


def draw(table: Table) -> Figure:
    """Support F1 against the price."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for name, strata in table.rows.items():
        values = [metrics["support_f1"].mean for metrics in strata.values()]
        axes.plot([float(price) for price in strata], values, marker="o", label=name)
    axes.axvline(1.0, color="#888", linestyle=":", label="theory closes here")
    axes.set(xscale="log", xlabel="price", ylabel="support F1", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    axes.set_title("What a mask finds of what is shared")
    return figure
