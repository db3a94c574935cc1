"""Comparison of guidance strategies: the synchrony that each form gains, and what it loses in attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from ...guidance.strategy import UCG, PerStreamCFG, Strategy
from ...models.choose import load_model
from ..prompts import AUDIBLE, DEVELOPMENT, bench_prompts
from ..runner import Record, Run, Variant, differences, run_variants, summarise
from ..tables import Table

TEXT = (2.0, 3.0, 5.0)
CONTEXT = (1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
MASKED = ("U3", "U5")  # forms that are also tried with the masked null: those of LTX-2 and UniAVGen
FORMS = ("U2", "U2'", "U3")  # forms that use both scales
ATTRIBUTES = ("kind_accuracy", "side_accuracy", "colour_accuracy")
TOLERATED = (
    0.03  # largest loss of an attribute against plain CFG, on the development list, with which a setting can be chosen
)
REASONING, TOLERATED_REASONING = (
    "reasoning_all_met",
    0.1,
)  # the list has few such prompts: 12 of 60, so one prompt is 0.083
DEVELOPMENT_SHARE, TEST_SHARE = (
    0.15,
    0.6,
)  # of the requested number of prompts; only those with an audible source are used

Found = dict[str, dict[str, float]]


def measure(run: Run) -> Table:
    """No guidance, plain CFG, UCG and the masked null, each with the settings chosen on the development list; UCG only if the model has
    a trained null."""
    found: Found = {}
    strategies, chosen = _choose(run, found, trained_null=load_model(run.model).network.trained_null)
    prompts = bench_prompts(round(TEST_SHARE * run.prompts), run.seed, strata=AUDIBLE)
    variants = [Variant(row, strategies[name]) for row, name in chosen.items()]
    records = run_variants(variants, prompts, run)
    rows = {name: summarise(part) for name, part in records.items()}
    for a, b in (("ucg", "cfg"), ("masked-null", "cfg"), ("ucg", "masked-null")):
        if {f"{a}-chosen", f"{b}-chosen"} <= chosen.keys():
            rows[f"{a}-chosen-minus-{b}-chosen"] = differences(records[f"{a}-chosen"], records[f"{b}-chosen"])
    best = "ucg" if "ucg-chosen" in chosen else "masked-null"
    gain = rows[f"{best}-chosen-minus-cfg-chosen"]["all"]["sync_normalised"].mean
    headroom = 1 - rows["cfg-chosen"]["all"]["sync_normalised"].mean
    notes = {**chosen, f"{best}'s gain as a share of what cfg leaves": round(gain / headroom, 3), "development": found}
    return Table("guidance", len(prompts), run.seed, rows, notes, run.model)


def _choose(run: Run, found: Found, *, trained_null: bool = True) -> tuple[dict[str, Strategy], dict[str, str]]:
    """Every setting that was tried, and the one chosen for each row: the highest synchrony F1 without a larger loss of attributes than
    ``TOLERATED``. Scores on the development list are added to ``found``. Single directions are tried with the null that the model was
    trained with, or with the masked null if there is none."""
    listed = bench_prompts(round(DEVELOPMENT_SHARE * run.prompts), DEVELOPMENT, strata=AUDIBLE)
    strategies: dict[str, Strategy] = {}

    def best(settings: Mapping[str, Strategy], floor: Mapping[str, float]) -> str:
        strategies.update(settings)
        tried = [Variant(name, s, normalise=False) for name, s in settings.items() if name not in found]
        records = run_variants(tried, listed, run)
        found.update({name: development_scores(part) for name, part in records.items()})
        return best_setting(settings, found, floor)

    plain = {"none": PerStreamCFG(1.0, 1.0)} | {f"cfg {s:g}": PerStreamCFG(s, s) for s in TEXT}
    cfg = best(plain, {})
    text, floor = plain[cfg].video, attribute_floor(found[cfg])
    forms, chosen = _forms(text), {"none": "none", "cfg-chosen": cfg}
    masked = {f"masked {name}": replace(form, masked=True) for name, form in forms.items() if form.form in MASKED}
    row, nulls = ("ucg-chosen", forms) if trained_null else ("masked-null-chosen", masked)
    name = best(nulls, floor)
    chosen[row] = best({name: nulls[name], **_by_direction(name, nulls[name])}, floor)
    if trained_null:
        chosen["masked-null-chosen"] = best(masked, floor)
    return strategies, chosen


def attribute_floor(reference: Mapping[str, float]) -> dict[str, float]:
    """The lowest value of each guarded attribute with which a setting can be chosen, from the scores of the setting it is compared with."""
    floor = {name: reference[name] - TOLERATED for name in ATTRIBUTES}
    return floor | ({REASONING: reference[REASONING] - TOLERATED_REASONING} if REASONING in reference else {})


def best_setting(names: Iterable[str], found: Found, floor: Mapping[str, float]) -> str:
    """The setting with the highest synchrony F1 among those that reach ``floor``; among all if none does."""
    names = list(names)
    kept = [name for name in names if all(found[name][a] >= v for a, v in floor.items())]
    return max(kept or names, key=lambda name: found[name]["sync_f1"])


def development_scores(records: list[Record]) -> dict[str, float]:
    """The means by which settings are compared on the development list."""
    names = ("sync_f1", *ATTRIBUTES, REASONING, "count_error", "count_outside", "passes")
    means = summarise(records)["all"]
    return {name: round(means[name].mean, 4) for name in names if name in means}


def _forms(text: float) -> dict[str, UCG]:
    """Every form at every context scale, with the scale ``text`` if the form has a separate text scale."""
    out = {f"U1 {s:g}": UCG("U1", s, s) for s in CONTEXT}
    out |= {f"{form} {s:g}": UCG(form, text, text, s, s) for form in FORMS for s in CONTEXT}
    return out | {f"U5 {s:g}": UCG("U5", a2v=s, v2a=s) for s in CONTEXT}


def _by_direction(name: str, form: UCG) -> dict[str, UCG]:
    """``form`` with the scale of one direction at 1, if it has a scale for each direction."""
    if form.form == "U1":
        return {}
    return {f"{name} into video": replace(form, v2a=1.0), f"{name} into audio": replace(form, a2v=1.0)}


def draw(table: Table) -> Figure:
    """Synchrony against attributes for every setting that was tried; a line connects the context scales of one form."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    found: Found = table.notes["development"]
    families: dict[str, list[tuple[str, Any]]] = {}
    for name, scores in found.items():
        family = name.split(" into ")[0].rpartition(" ")[0] or name
        families.setdefault(family, []).append((name.removeprefix(family).strip(), scores))
    for family, points in families.items():
        x, y = [fmean(s[a] for a in ATTRIBUTES) for _, s in points], [s["sync_f1"] for _, s in points]
        (line,) = axes.plot(x, y, "o--" if "masked" in family else "o-", label=family)
        for (scale, _), at in zip(points, zip(x, y, strict=True), strict=True):
            axes.annotate(scale, at, textcoords="offset points", xytext=(4, 4), fontsize=7, color=line.get_color())
    rows = (f"{name}-chosen" for name in ("cfg", "ucg", "masked-null"))
    for scores in (found[table.notes[row]] for row in rows if row in table.notes):
        axes.plot(
            fmean(scores[a] for a in ATTRIBUTES), scores["sync_f1"], "s", markersize=14, fillstyle="none", color="black"
        )
    axes.set_xlabel("kind, side and colour accuracy, mean")
    axes.set_ylabel("sync_f1")
    axes.set_title(f"Suite {table.title}: development list; squares mark the chosen settings")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure
