"""A base under plain guidance."""

from __future__ import annotations

from ...guidance.modifiers import UnimodalStrategy
from ...guidance.strategy import PerStreamCFG
from ..prompts import AUDIBLE, DEVELOPMENT, bench_prompts
from ..runner import Run, Variant, differences, run_true, run_variants, summarise
from ..tables import Table

SCALES = (1.0, 2.0, 3.0, 5.0)
DEVELOPMENT_SHARE = 0.25  # of the requested number of prompts


def measure(run: Run) -> Table:
    """Plain CFG with the scale chosen on the development list, on all prompts; no guidance and independently generated streams on half
    of the prompts with an audible source; and rendered clips."""
    listed = bench_prompts(round(DEVELOPMENT_SHARE * run.prompts), DEVELOPMENT, strata=AUDIBLE)
    trials = [Variant(f"cfg {scale:g}", PerStreamCFG(scale, scale)) for scale in SCALES]
    tried = run_variants(trials, listed, run)
    found = {name: summarise(records)["all"] for name, records in tried.items()}
    best = max(trials, key=lambda trial: found[trial.name]["sync_normalised"].mean)

    prompts, audible = bench_prompts(run.prompts, run.seed), bench_prompts(run.prompts // 2, run.seed, strata=AUDIBLE)
    chosen = Variant("cfg-chosen", best.strategy)
    others = [Variant("none", PerStreamCFG(1.0, 1.0)), Variant("context-only", UnimodalStrategy(best.strategy))]
    records = run_variants([chosen], prompts, run)
    records |= run_variants(others, audible, run)
    rows = {name: summarise(part) for name, part in records.items()}
    rows["true-clips"] = summarise(run_true(prompts, run))
    for other in others:
        rows[f"{other.name}-minus-cfg-chosen"] = differences(records[other.name], records["cfg-chosen"])
    development = {name: round(metrics["sync_normalised"].mean, 4) for name, metrics in found.items()}
    notes = {"cfg-chosen": best.name, "sync_normalised on development": development}
    return Table("core", len(prompts), run.seed, rows, notes, run.model)
