"""The world bench: fixed prompts, scores with known answers, tables that can be read back."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.bench import runner
from duet_av.pipelines.bench.probes import Seen
from duet_av.pipelines.bench.prompts import AUDIBLE, DEVELOPMENT, SHARES, TEST, Prompt, bench_prompts
from duet_av.pipelines.bench.readings import Probes, Reading
from duet_av.pipelines.bench.runner import Run, Variant, chunks, differences, run_variants, score_true_chunk, summarise
from duet_av.pipelines.bench.scores import scores
from duet_av.pipelines.bench.suites import SUITES, guidance
from duet_av.pipelines.bench.tables import Table, markdown, plot, write
from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.timeline import PLACES
from duet_av.pipelines.guidance.modifiers import UnimodalStrategy
from duet_av.pipelines.guidance.strategy import UCG, Branch, PerStreamCFG
from duet_av.pipelines.models.pocket.generate import generate
from duet_av.pipelines.models.pocket.load import PocketModel
from duet_av.pipelines.world import KINDS, caption
from duet_av.pipelines.world.scene import COLOURS, Scene, Subject, held_out


def test_the_lists_hold_a_thousand_fixed_prompts_of_held_out_compositions():
    prompts = bench_prompts(1000, TEST)
    assert Counter(p.stratum for p in prompts) == SHARES
    assert sum(SHARES[s] for s in AUDIBLE) == 400
    assert len({p.seed for p in prompts}) == 1000
    assert all(held_out(s.colour, s.kind, s.place) for p in prompts for s in p.scene.subjects if s.seen)
    assert {p.seed for p in prompts}.isdisjoint(p.seed for p in bench_prompts(1000, DEVELOPMENT))


def test_a_shorter_list_is_the_beginning_of_the_longer():
    longer = {(p.stratum, p.seed): p.text for p in bench_prompts(200, TEST)}
    assert all(longer[p.stratum, p.seed] == p.text for p in bench_prompts(50, TEST))


def test_captions_state_every_silence_unless_the_object_never_sounds():
    for prompt in bench_prompts(200, TEST, strata=("silent",)):
        for s in prompt.scene.subjects:
            assert s.heard or not s.times or "silently" in prompt.text or "without a sound" in prompt.text


def test_chunks_hold_one_stratum_and_consecutive_seeds():
    prompts = bench_prompts(300, TEST)
    parts = list(chunks(prompts))
    assert [p for part in parts for p in part] == prompts
    for part in parts:
        assert len({p.stratum for p in part}) == 1
        assert [p.seed for p in part] == list(range(part[0].seed, part[0].seed + len(part)))


BALL = Subject("ball", "red", "small", "left", 0.24, "slowly", (0.5, 1.3))
BELL = Subject("bell", "blue", "large", "right", 0.76, "once", (0.9,))


def prompt(stratum, *subjects, rule=""):
    return Prompt(stratum, Scene(0, 0, stratum, "night", 2.0, subjects, rule), 0)


def reading(heard, sides, events, *things):
    """A reading in which exactly ``things`` (kind, colour, place) are in view."""
    table = torch.zeros(len(PLACES), len(KINDS), len(COLOURS))
    for kind, colour, place in things:
        table[PLACES.index(place), KINDS.index(kind), COLOURS.index(colour)] = 1
    presence = tuple(float(any(kind == t[0] for t in things)) for kind in KINDS)
    return Reading(heard, sides, Seen(events, presence, table))


PAIR = {"ball": (0.5, 1.3), "bell": (0.9,)}
SIDES = {"ball": "left", "bell": "right"}
BOTH = (("ball", "red", "left"), ("bell", "blue", "right"))


def test_a_perfect_clip_scores_everything():
    found = scores(prompt("simultaneous", BALL, BELL), reading(PAIR, SIDES, PAIR, *BOTH))
    assert found == {
        "kind_accuracy": 1.0,
        "kind_seen": 1.0,
        "kind_heard": 1.0,
        "side_accuracy": 1.0,
        "colour_accuracy": 1.0,
        "count_error": 0.0,
        "count_outside": 0.0,
        "offset_ms": 0.0,
        "binding": 1.0,
    }


@pytest.mark.parametrize(
    ("changed", "metric", "value"),
    [
        ({"heard": {"ball": (0.5, 1.3)}}, "kind_accuracy", 0.0),
        ({"heard": {"ball": (0.5,), "bell": (0.9,)}}, "count_error", 1.0),
        ({"heard": {"ball": (0.5,), "bell": (0.9,)}}, "count_outside", 0.0),
        ({"heard": {"ball": (0.5, 1.3), "bell": (0.9, 1.5)}}, "count_outside", 1.0),
        ({"heard": {"ball": (0.53, 1.33), "bell": (0.93,)}}, "offset_ms", 30.0),
        ({"sides": {"ball": "right", "bell": "right"}}, "side_accuracy", 0.5),
        ({"things": (("ball", "green", "left"), BOTH[1])}, "colour_accuracy", 0.5),
        ({"things": (("ball", "red", "right"), BOTH[1])}, "side_accuracy", 0.5),
        ({"heard": {"ball": (0.9,), "bell": (0.5, 1.3)}}, "binding", -1.0),
    ],
)
def test_each_fault_lowers_its_metric(changed, metric, value):
    usual = {"heard": PAIR, "sides": SIDES, "events": PAIR, "things": BOTH} | changed
    things = usual.pop("things")
    assert scores(prompt("simultaneous", BALL, BELL), reading(*usual.values(), *things))[metric] == pytest.approx(value)


def test_silent_objects_and_off_screen_sounds_are_scored():
    quiet, hidden = replace(BALL, heard=False), replace(BELL, seen=False)
    heard_anyway = reading({"ball": (0.5,)}, {"ball": "left"}, {}, BOTH[0])
    assert scores(prompt("silent", quiet), heard_anyway)["silent_false_alarm"] == 1
    assert scores(prompt("silent", quiet), reading({}, {}, {}, BOTH[0]))["silent_false_alarm"] == 0
    cloud = Subject("cloud", "white", "small", "left", 0.2, "slowly", (), heard=False)
    off = prompt("offscreen", hidden, cloud)
    right = scores(off, reading({"bell": (0.9,)}, {"bell": "right"}, {}, ("cloud", "white", "left")))
    assert (right["offscreen_sound"], right["offscreen_no_visual"], right["side_accuracy"]) == (1, 1, 1)
    assert scores(off, reading({}, {}, {}, BOTH[1]))["offscreen_no_visual"] == 0


@pytest.mark.parametrize(("answer", "met"), [(1.5, 1.0), (0.3, 0.0)])
def test_the_answer_must_follow_the_counted_beats(answer, met):
    drum = Subject("drum", "red", "small", "left", 0.24, "quickly", (0.2, 0.6, 1.0))
    bell = replace(BELL, times=(1.2,))
    found = reading({"drum": drum.times, "bell": (answer,)}, SIDES, {}, ("drum", "red", "left"), BOTH[1])
    assert scores(prompt("reasoning", drum, bell, rule="after 3"), found)["reasoning_all_met"] == met


def test_only_the_named_subject_may_sound():
    small, large = replace(BELL, size="small", place="left", heard=False), BELL
    two = prompt("reasoning", small, large, rule="large")
    things = (("bell", "blue", "left"), BOTH[1])
    for side, met in (("right", 1.0), ("left", 0.0)):
        found = reading({"bell": (0.9,)}, {"bell": side}, {}, *things)
        assert scores(two, found)["reasoning_all_met"] == met


def test_differences_use_the_prompts_that_both_variants_have():
    listed = bench_prompts(40, TEST, strata=AUDIBLE)
    a = [(p, {"count_error": 1.0 + k % 2}) for k, p in enumerate(listed)]
    b = [(p, {"count_error": float(k % 2)}) for k, p in enumerate(listed)][: len(listed) // 2]
    row = differences(a, b)["all"]["count_error"]
    assert (row.mean, row.n) == (1.0, len(b))
    assert row.p < 0.01


def test_unimodal_strategies_keep_weights_and_close_routes():
    terms = UnimodalStrategy(PerStreamCFG(3.0, 2.0)).terms(0.5)
    assert terms == {Branch(True, False, False): (3.0, 2.0), Branch(False, False, False): (-2.0, -1.0)}


@pytest.fixture(scope="module")
def shipped():
    return PocketModel.load(), Probes.load()


def test_rendered_clips_reach_the_scores_required_of_the_probes(shipped):
    rows = summarise(r for part in chunks(bench_prompts(200, 4243)) for r in score_true_chunk(*shipped, part))
    assert rows["single"]["sync_f1"].mean >= 0.98
    assert rows["single"]["kind_accuracy"].mean >= 0.95
    assert rows["single"]["side_accuracy"].mean >= 0.95
    assert rows["single"]["colour_accuracy"].mean >= 0.9
    assert rows["silent"]["silent_false_alarm"].mean <= 0.02


@pytest.mark.slow
def test_a_suite_is_written_as_json_page_and_plot(tmp_path):
    prompts = bench_prompts(20, TEST, strata=("single", "sequential"))
    records = run_variants([Variant("cfg 2", PerStreamCFG(2.0, 2.0), steps=2)], prompts, Run(20, TEST))
    assert [p for p, _ in records["cfg 2"]] == prompts
    rows = {"cfg 2": summarise(records["cfg 2"]), "a-minus-b": differences(records["cfg 2"], records["cfg 2"])}
    table = Table("core", len(prompts), TEST, rows)
    paths = write(table, tmp_path / "core.json", figure=plot(table, "sync_f1"))
    assert [path.suffix for path in paths] == [".json", ".md", ".png"]
    data = json.loads(paths[0].read_text())
    assert set(data) >= {"suite", "prompts", "seed", "weights", "commit", "rows"}
    same = next(row for row in data["rows"] if row["variant"] == "a-minus-b")["metrics"]["sync_f1"]
    assert (same["mean"], same["ci95"], same["p_holm"]) == (0.0, [0.0, 0.0], 1.0)
    assert "| cfg 2 | all | single | sequential |" in markdown(table)
    assert caption(prompts[0].scene) == prompts[0].text


def settings_found(monkeypatch, score):
    """The settings that the guidance suite chooses when every prompt of a variant scores ``score(strategy)``."""
    listed = bench_prompts(20, TEST, strata=("single",))

    def fake(variants, _prompts, _run):
        return {v.name: [(p, score(v.strategy)) for p in listed] for v in variants}

    monkeypatch.setattr(guidance, "run_variants", fake)
    found = {}
    strategies, chosen = guidance._choose(Run(40, TEST), found)
    assert set(chosen.values()) <= set(strategies) == set(found)
    return strategies, chosen, found


def test_settings_that_lose_attributes_are_not_chosen(monkeypatch):
    """Synchrony grows with every scale, but above context 2 the colours go."""

    def score(strategy):
        context = strategy.a2v if isinstance(strategy, UCG) else 1.0
        text = min(strategy.video, 5) / 100
        attributes = {"kind_accuracy": 1.0, "side_accuracy": 1.0, "colour_accuracy": 1.0 if context <= 2 else 0.5}
        return {"sync_f1": 0.1 * context + text, **attributes, "count_error": 0.0}

    strategies, chosen, _ = settings_found(monkeypatch, score)
    assert chosen["cfg-chosen"] == "cfg 5"
    assert strategies[chosen["ucg-chosen"]] in [UCG(form, 5.0, 5.0, 2.0, 2.0) for form in ("U1", "U2", "U2'", "U3")]
    assert strategies[chosen["masked-null-chosen"]].masked


def test_settings_that_lose_rules_are_not_chosen(monkeypatch):
    """Synchrony grows with every scale, but above context 5 the rules of reasoning prompts are no longer met."""

    def score(strategy):
        context = strategy.a2v if isinstance(strategy, UCG) else 1.0
        attributes = dict.fromkeys(guidance.ATTRIBUTES, 1.0) | {guidance.REASONING: 0.5 if context > 5 else 1.0}
        return {"sync_f1": 0.1 * context, **attributes, "count_outside": context}

    strategies, chosen, found = settings_found(monkeypatch, score)
    assert strategies[chosen["ucg-chosen"]].a2v == 5
    assert found["U2 7"]["count_outside"] == 7, "counts beyond the caption are in the table"


def test_single_directions_are_tried_and_plotted(monkeypatch):
    def score(strategy):
        alone = isinstance(strategy, UCG) and strategy.v2a == 1 and not strategy.masked
        best = isinstance(strategy, UCG) and strategy.form == "U2" and strategy.a2v == 3
        return (
            {"sync_f1": 0.1 + 0.5 * best + 0.2 * alone} | dict.fromkeys(guidance.ATTRIBUTES, 1.0) | {"count_error": 0.0}
        )

    _, chosen, found = settings_found(monkeypatch, score)
    assert chosen["ucg-chosen"] == "U2 3 into video"
    figure = guidance.draw(Table("guidance", 20, TEST, {}, {**chosen, "development": found}))
    (axes,) = figure.axes
    assert {"none", "cfg", "U1", "U2'", "masked U3"} <= set(axes.get_legend_handles_labels()[1])


def test_the_command_line_offers_every_suite(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    assert "{" + ",".join([*SUITES, "javisbench"]) + "}" in capsys.readouterr().out


def test_variants_with_the_same_guidance_share_chance_and_ceiling(shipped, monkeypatch):
    made = []
    monkeypatch.setattr(
        runner,
        "generate",
        lambda model, request, **options: made.append(request) or generate(model, request, **options),
    )
    prompts = bench_prompts(1, TEST, strata=("single",))
    plain, scaled = Variant("plain", PerStreamCFG(1.0, 1.0), steps=1), Variant("cfg", PerStreamCFG(2.0, 2.0), steps=1)
    shared = {}
    together = [runner.score_chunk(*shipped, prompts, v, shared=shared) for v in (plain, plain, scaled)]
    assert len(made) == 5  # three takes, and a second one for each of the two strategies
    alone = runner.score_chunk(*shipped, prompts, scaled)
    without_time = lambda records: [{k: v for k, v in scores.items() if k != "seconds"} for _, scores in records]  # noqa: E731
    assert without_time(together[0]) == without_time(together[1])
    assert without_time(together[2]) == without_time(alone)
