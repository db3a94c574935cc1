"""The few-steps suite: its settings, its choice on the development list, and the rules for a default."""

import pytest

from duet_av.pipelines.bench.prompts import TEST, bench_prompts
from duet_av.pipelines.bench.runner import Run
from duet_av.pipelines.bench.suites import few_steps, guidance
from duet_av.pipelines.bench.suites.few_steps import CHOSEN, MOST_PASSES, RECORD, Setting, ranges, scales, shortcomings
from duet_av.pipelines.bench.tables import Table
from duet_av.pipelines.core.statistics import Interval
from duet_av.pipelines.guidance.strategy import passes_per_step

ATTRIBUTES = guidance.ATTRIBUTES


def test_every_setting_is_within_the_budget_and_guides_different_steps():
    found = ranges()
    assert all(setting.passes <= MOST_PASSES for setting in found)
    assert len({(setting.steps, setting.passes) for setting in found}) == len(found)
    assert Setting("U2'", 3.0, 6, 0.5) in found
    assert Setting("U2'", 3.0, 6, 0.5).passes == 16, "5 guided steps of 3 passes, and 1 of one pass"
    assert [setting.passes for setting in found] == sorted(setting.passes for setting in found)
    assert len(set(scales(found[0]))) == len(few_steps.FORMS) * len(few_steps.CONTEXT)


def _measured(monkeypatch, score):
    """The table of the suite when every prompt of a variant scores ``score(variant)``."""

    def fake(variants, prompts, _run):
        return {v.name: [(p, score(v)) for p in prompts] for v in variants}

    monkeypatch.setattr(few_steps, "run_variants", fake)
    return few_steps.measure(Run(20, TEST))


def _scores(variant, *, sync, colour=1.0):
    return {
        "sync_f1": sync,
        "sync_chance": 0.1,
        "sync_ceiling": 1.0,
        **dict.fromkeys(ATTRIBUTES, 1.0),
        "colour_accuracy": colour,
        "passes": float(passes_per_step(variant.strategy)),
        "seconds": variant.steps / 100,
    }


def test_the_best_setting_that_keeps_the_attributes_is_compared_with_the_setting_of_record(monkeypatch):
    def score(variant):
        if variant.name == RECORD.name:
            return _scores(variant, sync=0.9)
        # Scale 5 has the highest synchrony and loses colours; of the others, 8 steps and scale 3 have the highest.
        scale = variant.strategy.strategy.a2v
        return _scores(variant, sync=0.8 + 0.01 * (variant.steps == 8) + 0.01 * scale, colour=0.5 if scale > 4 else 1.0)

    table = _measured(monkeypatch, score)
    assert table.notes[CHOSEN].startswith("U2 3, 8 steps")
    difference = table.rows[f"{CHOSEN}-minus-{RECORD.name}"]["all"]["sync_normalised"]
    assert difference.mean == pytest.approx((0.84 - 0.9) / 0.9)
    assert "at least 250 are required; no: sync_normalised may be" in table.notes["equivalent to 25 steps"]
    assert table.notes["time of a clip relative to 25 steps"] == pytest.approx(8 / 25)
    assert len(few_steps.draw(Table.from_json(_json(table))).axes) == 2


def _json(table):
    rows = [
        {"variant": name, "stratum": stratum, "metrics": {k: v.to_json() for k, v in metrics.items()}}
        for name, strata in table.rows.items()
        for stratum, metrics in strata.items()
    ]
    return {"suite": table.suite, "prompts": table.prompts, "seed": table.seed, "rows": rows, "notes": table.notes}


def test_few_steps_must_lose_neither_synchrony_nor_attributes():
    same = dict.fromkeys(ATTRIBUTES, Interval(0.0, -0.01, 0.01, 300, 1.0))
    assert shortcomings({"all": {"sync_normalised": Interval(0.0, -0.02, 0.02, 300, 1.0), **same}}) == []
    late = {"all": {"sync_normalised": Interval(0.0, -0.03, 0.03, 300, 1.0), **same}}
    assert shortcomings(late) == ["no: sync_normalised may be 0.030 lower"]
    pale = {"sync_normalised": Interval(0.0, -0.01, 0.02, 300, 1.0), **same}
    pale["colour_accuracy"] = Interval(-0.02, -0.04, -0.001, 300, 0.02)
    assert shortcomings({"all": pale}) == ["no: colour_accuracy is 0.020 lower"]
    pale["colour_accuracy"] = Interval(-0.02, -0.05, 0.01, 300, 0.2)
    assert shortcomings({"all": pale}) == ["no: colour_accuracy is 0.020 lower"]
    few = {"all": {name: Interval(0.0, 0.0, 0.0, 20, 1.0) for name in ("sync_normalised", *ATTRIBUTES)}}
    assert shortcomings(few) == ["no: 20 prompts, at least 250 are required"]


def test_the_list_of_prompts_is_long_enough_for_the_comparison():
    assert len(bench_prompts(1000, TEST, strata=few_steps.AUDIBLE)) >= few_steps.LEAST_PROMPTS
