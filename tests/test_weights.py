"""The weights that ship: what their cards and the table of record say is about these very files."""

import hashlib
import json
import re

import pytest

from duet_av.pipelines.bench.suites import guidance
from duet_av.pipelines.bench.tables import DECODERS, replaced
from duet_av.pipelines.core.weights import load_weights
from duet_av.pipelines.guidance.strategy import DEFAULT
from duet_av.pipelines.models.pocket.load import ADD_ONS, FILES
from duet_av.pipelines.training.card import card

LIMIT_ALL, LIMIT_EACH = 70e6, 18e6


@pytest.fixture
def shipped(root):
    return sorted((root / "weights").glob("*.safetensors"))


def test_sizes_stay_within_the_limits(shipped):
    sizes = [path.stat().st_size for path in shipped]
    assert len(sizes) == 17
    assert max(sizes) <= LIMIT_EACH
    assert sum(sizes) <= LIMIT_ALL


def test_every_file_has_the_card_written_from_it(shipped):
    for path in shipped:
        assert path.with_suffix(".md").read_text() == card(path), f"{path.name}: write its card again"


def test_every_table_of_record_is_about_the_weights_that_ship(root):
    tables = [json.loads(path.read_text()) for path in (root / "weights" / "bench").glob("*.json")]
    assert {
        "core",
        "codecs",
        "guidance",
        "few-steps",
        "ablation",
        "plan",
        "plan-ablation",
        "prior",
        "adapter",
        "adapter-ablation",
        "adapter-identifiability",
        "meter",
        "meter-validation",
        "people",
        "timed",
    } <= {table["suite"] for table in tables}
    for table in tables:
        assert len(table["commit"]) == 40
        if table["suite"] != "ablation":  # its small models do not ship
            assert replaced(table) <= set(DECODERS), f"{table['suite']}: measure it again"


def test_the_readme_marks_what_was_measured_with_earlier_decoders(root):
    rows = [
        line for line in (root / "README.md").read_text().splitlines() if "(docs/results/" in line and line[0] == "|"
    ]
    assert len(rows) >= 6
    for row in rows:
        for name in set(re.findall(r"docs/results/([a-z0-9-]+)\.md", row)):
            table = json.loads((root / "weights" / "bench" / f"{name}.json").read_text())
            marked = row.startswith("| *") or "earlier decoders" in row
            assert marked == bool(replaced(table)), f"{name}: mark the row with * or measure it again"


def test_the_readme_and_the_result_page_quote_the_base_model_correctly(root):
    table = json.loads((root / "weights" / "bench" / "core.json").read_text())
    row = next(r for r in table["rows"] if (r["variant"], r["stratum"]) == ("cfg-chosen", "single"))
    value = row["metrics"]["sync_normalised"]
    quoted = f"{value['mean']:.2f} [{value['ci95'][0]:.2f}, {value['ci95'][1]:.2f}]"
    assert quoted in (root / "README.md").read_text()
    assert quoted in (root / "docs" / "results" / "core.md").read_text()


def test_the_meter_finds_known_shifts_and_no_evidence_in_weather(root):
    table = json.loads((root / "weights" / "bench" / "meter.json").read_text())
    rows = {(r["variant"], r["stratum"]): r["metrics"] for r in table["rows"]}
    for late in ("-250", "-62", "+0", "+62", "+250"):
        assert rows[f"{late} ms", "world"]["probe_error_ms"]["mean"] <= 10
    strengths = [
        rows[row, "world"]["strength"]["mean"]
        for row in ("+0 ms", "jitter 40 ms", "jitter 80 ms", "jitter 160 ms", "sound of another clip")
    ]
    assert strengths == sorted(strengths, reverse=True)
    assert rows["+0 ms", "weather"]["evidence"]["mean"] <= 0.1


def test_the_meter_is_right_where_it_has_evidence_and_silent_on_unrelated_audio(root):
    table = json.loads((root / "weights" / "bench" / "meter-validation.json").read_text())
    everything = {r["stratum"]: r["metrics"] for r in table["rows"] if r["variant"] == "all kinds"}
    related, unrelated = everything["related"], everything["unrelated audio"]
    assert related["within_a_frame"]["mean"] >= 0.9
    assert related["evidence"]["mean"] >= 0.7
    assert related["wrong_evidence"]["mean"] <= 0.05
    assert unrelated["evidence"]["mean"] <= 0.02


def test_the_reported_choice_was_made_on_development(root):
    notes = json.loads((root / "weights" / "bench" / "core.json").read_text())["notes"]
    tried = notes["sync_normalised on development"]
    assert notes["cfg-chosen"] == max(tried, key=tried.get)


def test_the_strategies_of_record_were_chosen_on_development_and_hold_the_attributes(root):
    table = json.loads((root / "weights" / "bench" / "guidance.json").read_text())
    notes, found = table["notes"], table["notes"]["development"]
    floor = guidance.attribute_floor(found[notes["cfg-chosen"]])

    def best(names, **limits):
        kept = [n for n in names if all(found[n][a] >= v for a, v in limits.items())]
        return max(found[n]["sync_f1"] for n in kept or names)

    families = {"cfg-chosen": ("none", "cfg"), "ucg-chosen": ("U",), "masked-null-chosen": ("masked",)}
    for row, starts in families.items():
        names = [name for name in found if name.startswith(starts)]
        limits = {} if row == "cfg-chosen" else floor
        assert found[notes[row]]["sync_f1"] == best(names, **limits)


def test_the_shipped_default_is_the_strategy_of_record(root):
    notes = json.loads((root / "weights" / "bench" / "guidance.json").read_text())["notes"]
    text = float(notes["cfg-chosen"].removeprefix("cfg "))
    assert guidance._forms(text)[notes["ucg-chosen"]] == DEFAULT


def test_the_readme_states_what_ucg_gains_and_what_it_loses(root):
    table = json.loads((root / "weights" / "bench" / "guidance.json").read_text())
    row = next(r for r in table["rows"] if (r["variant"], r["stratum"]) == ("ucg-chosen-minus-cfg-chosen", "all"))
    assert f"p = {row['metrics']['reasoning_all_met']['p_holm']:.2f}" in (root / "README.md").read_text()
    for metric in ("sync_normalised", "reasoning_all_met"):
        value = row["metrics"][metric]
        quoted = f"{value['mean']:+.2f} [{value['ci95'][0]:+.2f}, {value['ci95'][1]:+.2f}]"
        assert quoted in (root / "README.md").read_text(), metric
        assert quoted.replace("+-", "-") in (root / "docs" / "guidance.md").read_text(), metric


@pytest.mark.parametrize(
    "kind", ["pocket-plan", "pocket-prior-layers", "pocket-adapter-v2a", "pocket-adapter-a2v", "pocket-timed"]
)
def test_the_layers_that_ship_are_of_the_base_that_ships(kind):
    base = hashlib.sha256(FILES["pocket-av"].read_bytes()).hexdigest()
    assert load_weights(ADD_ONS[kind], kind).config["base"] == base


@pytest.mark.parametrize("way", ["v2a", "a2v"])
def test_the_adapters_layers_are_of_the_adapter_that_ships(way):
    adapter = hashlib.sha256(ADD_ONS["pocket-adapter"].read_bytes()).hexdigest()
    assert load_weights(ADD_ONS[f"pocket-adapter-{way}"], f"pocket-adapter-{way}").config["adapter"] == adapter


@pytest.mark.parametrize(
    ("suite", "variants", "metrics"),
    [
        ("plan", ("oracle", "timeline", "none"), ("sync_normalised", "plan_realised")),
        ("plan", ("edit-locality", "edit-locality-ceiling"), ("edit_locality",)),
        ("timed", ("none", "words", "segments", "timed", "timed-trained", "plan"), ("hit_both", "false_events")),
        ("people", ("as-written",), ("kinds_right", "colours_right", "count_right", "not_asked", "refusal_right")),
        ("prior", ("none", "prior-1", "oracle"), ("sync_normalised", "kind_accuracy")),
        ("adapter", ("native-v2a", "native-a2v", "apart", "adapter-v2a", "adapter-a2v"), ("sync_normalised",)),
        ("adapter", ("adapter-cascade", "adapter-cascade-both"), ("sync_normalised",)),
        ("adapter-ablation", ("gate", "soft", "unmasked"), ("sync_f1",)),
        ("plan-ablation", ("rs-rope", "time-only", "no-rope", "concat"), ("plan_realised", "sync_normalised")),
    ],
)
def test_the_page_of_a_method_quotes_its_table(root, suite, variants, metrics):
    table = json.loads((root / "weights" / "bench" / f"{suite}.json").read_text())
    rows = {r["variant"]: r["metrics"] for r in table["rows"] if r["stratum"] == "all"}
    pages = {"plan": "plans", "prior": "prior", "adapter": "adapter", "timed": "plans", "people": "measuring"}
    page = pages[suite.partition("-")[0]]
    text = (root / "docs" / f"{page}.md").read_text()
    for variant in variants:
        for metric in metrics:
            value = rows[variant][metric]
            assert f"{value['mean']:.2f} [{value['ci95'][0]:.2f}, {value['ci95'][1]:.2f}]" in text, (variant, metric)
