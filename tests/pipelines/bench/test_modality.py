"""The suite of LTX-2's modality guidance, and which suites measure which model."""

from dataclasses import replace

import pytest

from duet_av.pipelines.bench.prompts import DEVELOPMENT, bench_prompts
from duet_av.pipelines.bench.runner import Run
from duet_av.pipelines.bench.suites import SUITES, guidance, modality
from duet_av.pipelines.bench.tables import Table, markdown, measured_with
from duet_av.pipelines.guidance.strategy import PLAIN, UCG, Branch
from duet_av.pipelines.models.choose import MODELS, POCKET_LTX2


def test_the_grid_is_ltx_2s_rule_in_each_direction():
    settings = {variant.name: variant.strategy.terms(1.0) for variant in modality.grid(2.0)}
    assert len(settings) == 15
    severed = Branch(a2v=False, v2a=False, masked=True)
    both, video = settings["both 3"], settings["into video 3"]
    assert both == {
        PLAIN: (4.0, 4.0),
        Branch(text=False): (-1.0, -1.0),
        severed: (-2.0, -2.0),
        replace(severed, text=False): (0, 0),
    }
    assert video[PLAIN] == (4.0, 2.0)
    assert video[severed] == (-2.0, 0.0)


@pytest.fixture
def measured(monkeypatch):
    """The table of scores in which guidance into the audio helps and CFG 2 is the best plain one."""
    calls = []

    def fake(variants, prompts, run):
        calls.append((len(variants), len(prompts), run.model))

        def score(strategy):
            gain = 0.05 * (strategy.v2a - 1) if isinstance(strategy, UCG) else -0.1 * abs(strategy.video - 2)
            return {"sync_f1": 0.5 + gain, "sync_chance": 0.1, "sync_ceiling": 1.0} | dict.fromkeys(
                guidance.ATTRIBUTES, 1.0
            )

        return {v.name: [(p, score(v.strategy)) for p in prompts] for v in variants}

    monkeypatch.setattr(modality, "run_variants", fake)
    return modality.measure(Run(20, 1000, POCKET_LTX2)), calls


def test_every_setting_is_compared_with_the_best_plain_cfg(measured):
    table, calls = measured
    count = len(bench_prompts(20, DEVELOPMENT, strata=("single", "sequential", "simultaneous", "reasoning")))
    assert calls == [(4, count, POCKET_LTX2), (15, count, POCKET_LTX2)]
    assert table.notes == {"plain": "cfg 2"}
    gain = table.rows["into audio 5-minus-cfg 2"]["all"]["sync_f1"]
    assert gain.mean == pytest.approx(0.2)
    assert table.rows["into video 5-minus-cfg 2"]["all"]["sync_f1"].mean == pytest.approx(0)


def test_a_table_names_its_model_and_is_plotted(measured):
    table, _ = measured
    assert table.title == "modality, pocket-ltx2"
    assert markdown(table).startswith("# Suite modality, pocket-ltx2")
    left, right = modality.draw(table).axes
    assert len(left.get_legend_handles_labels()[1]) == len(right.get_legend_handles_labels()[1]) == 3
    assert "pocket-ltx2" in measured_with("modality", POCKET_LTX2)
    assert "pocket-av" not in measured_with("modality", POCKET_LTX2)
    assert "pocket-av" in measured_with("modality")


def test_a_table_of_the_pocket_network_reads_back_without_a_model():
    data = {"suite": "core", "prompts": 1, "seed": 0, "notes": {}, "rows": []}
    assert Table.from_json(data).title == "core"
    assert Table.from_json({**data, "model": POCKET_LTX2}).title == "core, pocket-ltx2"


def test_a_suite_refuses_a_model_that_it_does_not_measure():
    assert [name for name, suite in SUITES.items() if suite.models == MODELS] == ["core", "guidance", "modality"]
    with pytest.raises(ValueError, match=r"the suite 'prior' measures pocket only.*core, guidance, modality"):
        SUITES["prior"].require("prior", POCKET_LTX2)


def test_without_a_trained_null_the_guidance_suite_tries_the_masked_one_only(monkeypatch):
    def fake(variants, _prompts, _run):
        def score(strategy):
            own = 0.1 * (strategy.a2v + strategy.v2a) if isinstance(strategy, UCG) else 0.0
            return {"sync_f1": own} | dict.fromkeys(guidance.ATTRIBUTES, 1.0)

        return {v.name: [(p, score(v.strategy)) for p in bench_prompts(20, 0, strata=("single",))] for v in variants}

    monkeypatch.setattr(guidance, "run_variants", fake)
    strategies, chosen = guidance._choose(Run(40, 1000, POCKET_LTX2), {}, trained_null=False)
    assert list(chosen) == ["none", "cfg-chosen", "masked-null-chosen"]
    assert all(s.masked for s in strategies.values() if isinstance(s, UCG))
    assert any(name.endswith("into audio") for name in strategies)
