"""Plans: places, layers that read them, the language that writes them, and how well they are kept."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duet_av.pipelines.bench.plan_scores import plan_scores
from duet_av.pipelines.bench.plan_targets import oracle_plan, shuffled_plan
from duet_av.pipelines.bench.probes import Seen
from duet_av.pipelines.bench.prompts import AUDIBLE, DEVELOPMENT, bench_prompts
from duet_av.pipelines.bench.readings import Probes, Reading
from duet_av.pipelines.bench.suites.plan import edited, stays
from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.conditions import Conditions, PlacedTokens, select_rows, unit_grid
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.timeline import PLACES, Event, Timeline
from duet_av.pipelines.guidance.modifiers import PlanScale
from duet_av.pipelines.guidance.strategy import PLAIN, Branch, PerStreamCFG
from duet_av.pipelines.models.addons.plan import NAME, PlanConfig, PlanLayers
from duet_av.pipelines.models.planner.language import END, HEAR, MAX_EVENTS, PAD, SEE, TICKS, TIMELINE, PlanLanguage
from duet_av.pipelines.models.planner.load import load_planner
from duet_av.pipelines.models.planner.planner import PlannerConfig, VAPlanner, batched
from duet_av.pipelines.models.planner.request import join_plans
from duet_av.pipelines.models.pocket.add_ons import load_layers
from duet_av.pipelines.models.pocket.denoiser import PocketDenoiser
from duet_av.pipelines.models.pocket.network import PocketConfig, TwinStreamDiT
from duet_av.pipelines.world.scene import SOUNDING
from duet_av.pipelines.world.truth import timeline_of

SMALL = PocketConfig(
    dim=24, depth=2, heads=2, text_dim=8, video_channels=3, audio_channels=5, context_tokens=2, window=1, fps=16,
    sample_rate=16_000,
)  # fmt: skip
PLAN = PlanConfig(video=6, audio=7)
WORDS = ("a", "bell", "rings", "on", "the", "left")
PLANNER = PlannerConfig(WORDS, SOUNDING, keyframes=4, blocks=5, video=6, audio=7, dim=32, depth=2, heads=4)


def randomised(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.eval().requires_grad_(False)


@pytest.fixture
def network():
    return randomised(TwinStreamDiT(SMALL))


@pytest.fixture
def inputs():
    x = Streams(torch.randn(2, 3, 4, 8, 8), torch.randn(2, 5, 16))
    sigma = Streams(torch.full((2, 1), 0.7), torch.full((2, 1), 0.7))
    text = torch.randn(2, 4, 8)
    return x, sigma, Streams(text, text)


@pytest.fixture
def plan():
    grid = Streams(unit_grid(4, 2, 2), unit_grid(8))
    return Streams(PlacedTokens(torch.randn(2, 16, 6), grid.video), PlacedTokens(torch.randn(2, 8, 7), grid.audio))


def close(a, b, tolerance=1e-5):
    return all(torch.allclose(x, y, atol=tolerance, rtol=0) for x, y in zip(a, b, strict=True))


def planned(network, inputs, plan):
    return network(*inputs, conditions={NAME: plan})


def test_no_plan_and_a_hidden_plan_are_the_base_bit_for_bit(network, inputs, plan):
    before = network(*inputs)
    randomised(PlanLayers(PLAN, SMALL)).install(network)
    hidden = plan.map(lambda p: replace(p, shown=torch.tensor([False, True])))
    assert close(network(*inputs), before, 0.0)
    found = planned(network, inputs, hidden)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(found, before, strict=True))
    assert not close(found, before, 1e-3)


def test_new_layers_add_nothing_until_they_have_learnt(network, inputs, plan):
    before = network(*inputs)
    layers = PlanLayers(PLAN, SMALL)
    layers.init_weights()
    assert close(planned(layers.install(network), inputs, plan), before, 0.0)


@pytest.mark.parametrize(("axes", "matters"), [("all", True), ("time", True), ("none", False)])
def test_tokens_may_be_listed_in_any_order_and_their_places_matter(network, inputs, plan, axes, matters):
    randomised(PlanLayers(replace(PLAN, axes=axes), SMALL)).install(network)
    found = planned(network, inputs, plan)
    order = plan.map(lambda p: torch.randperm(len(p.places)))
    together = plan.map(lambda p, o: PlacedTokens(p.tokens[:, o], p.places[o]), order)
    apart = plan.map(lambda p, o: PlacedTokens(p.tokens, p.places[o]), order)
    assert close(planned(network, inputs, together), found)
    assert close(planned(network, inputs, apart), found, 1e-4) is not matters


def test_equal_grids_give_equal_positions(network, inputs):
    place = network.geometry(inputs[0])
    for grid, geometry in ((unit_grid(4, 2, 2), place.video), (unit_grid(16), place.audio)):
        assert torch.allclose(grid * geometry.extent, geometry.positions, atol=1e-5)


def test_a_coarser_grid_stands_in_the_middle_of_what_it_covers():
    fine, coarse = unit_grid(16), unit_grid(4)
    assert torch.allclose(coarse[:, 0], fine.view(4, 4).mean(1))


@torch.inference_mode()
def test_branches_with_and_without_the_plan_share_a_pass(network, inputs, plan):
    x, _, text = inputs
    randomised(PlanLayers(PLAN, SMALL)).install(network)
    denoise = PocketDenoiser(network, text, text, Conditions(plan))
    together = denoise([PLAIN, Branch(plan=False)], x, 0.7)
    assert close(together[0], denoise([PLAIN], x, 0.7)[0])
    assert close(together[1], PocketDenoiser(network, text, text)([PLAIN], x, 0.7)[0])
    assert not close(*together, 1e-3)


def test_the_plan_scale_weighs_to_one_and_costs_nothing_at_one():
    inner = PerStreamCFG(2.0, 3.0)
    assert PlanScale(inner, 1.0, 1.0).branches(0.5) == inner.branches(0.5)
    terms = PlanScale(inner, 2.0, 1.5).terms(0.5)
    assert [sum(column) for column in zip(*terms.values(), strict=True)] == pytest.approx([1.0, 1.0])
    assert terms[Branch(plan=False)] == (-1.0, -0.5)
    with pytest.raises(ValueError, match="scale of the plan is -1"):
        PlanScale(inner, -1.0, 1.0)


def test_layers_of_another_base_are_refused():
    with pytest.raises(ValueError, match="trained on the base"):
        load_layers("pocket-plan", SMALL, "0" * 64)


# Plain values: building events inside a strategy would run the type checker's own random numbers there.
EVENTS = st.tuples(
    st.integers(0, 199), st.sampled_from(SOUNDING), st.sampled_from(PLACES), st.sampled_from([(1, 1), (0, 1), (1, 0)])
)


@given(st.lists(EVENTS, max_size=MAX_EVENTS))
@settings(max_examples=60, deadline=None)
def test_a_timeline_is_the_same_through_text_json_and_to_a_tick_through_tokens(rows):
    timeline = Timeline.of(
        Event(when / 100, what, where, bool(heard), bool(seen)) for when, what, where, (heard, seen) in rows
    )
    assert Timeline.read(str(timeline)) == timeline
    assert Timeline.from_json(timeline.to_json()) == timeline
    language = PlanLanguage(list(WORDS), SOUNDING, 2.0)
    back = language.read(language.write(timeline))
    assert sorted((e.what, e.where, e.heard) for e in back.events) == sorted(
        (e.what, e.where, e.heard) for e in timeline.events
    )
    for kind in SOUNDING:
        mine, theirs = ([e.when for e in t.events if e.what == kind] for t in (timeline, back))
        assert all(abs(a - b) <= 1 / TICKS for a, b in zip(sorted(mine), sorted(theirs), strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.3 bell", "Line 1"),
        ("0.3 bell left\nsoon bell left", "Line 2"),
        ("0.3 bell above", "left, middle, right"),
        ("0.3 bell left loudly", "Line 1"),
        ("0.3 bell left silent unseen", "one word too many"),
        ("-1 bell left", "number of seconds, 0 or more"),
        ("nan bell left", "number of seconds, 0 or more"),
    ],
)
def test_a_line_that_is_no_event_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        Timeline.read(text)


@pytest.mark.parametrize("text", ["{", "[1]", '[{"when": 0.1}]', '[{"when": "x", "what": "bell", "where": "left"}]'])
def test_json_that_is_no_timeline_is_refused(text):
    with pytest.raises(ValueError, match=r"timeline|event"):
        Timeline.from_json(text)


@given(st.integers(0, 2**32 - 1), st.floats(0, 3))
@settings(max_examples=15, deadline=None)
def test_nothing_invalid_can_be_written_whatever_the_weights(seed, temperature):
    torch.manual_seed(seed % 7)
    planner = randomised(VAPlanner(PLANNER))
    timeline = planner.write("a bell rings", "", seed=seed, temperature=temperature)
    assert Timeline.read(str(timeline)) is not None
    assert planner.language.read(planner.language.write(timeline)) == timeline
    assert [e.when for e in timeline.events] == sorted(e.when for e in timeline.events)


def test_a_seed_is_a_timeline():
    planner = randomised(VAPlanner(PLANNER))
    texts = [str(planner.write("a bell rings", "", seed=seed)) for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_what_cannot_be_planned_is_refused():
    language = PlanLanguage(list(WORDS), SOUNDING, 2.0)
    with pytest.raises(ValueError, match="knows ball"):
        language.write(Timeline((Event(0.1, "dog", "left"),)))
    with pytest.raises(ValueError, match="the clip ends at 2 s"):
        language.write(Timeline((Event(2.0, "bell", "left"),)))
    with pytest.raises(ValueError, match="at most 16"):
        language.write(Timeline((Event(0.1, "bell", "left"),) * 17))


@torch.inference_mode()
def test_the_sounds_placeholders_see_the_pictures_and_not_the_reverse():
    planner = randomised(VAPlanner(PLANNER))
    prompt = torch.tensor([planner.language.prompt("a bell rings") + planner.language.write(None)])
    tail = planner.placeholders(1)
    seen = int((tail == SEE).sum())
    base = planner.states(torch.cat([prompt, tail], 1))[:, -tail.shape[1] :]
    for changed, token in ((0, HEAR), (seen, SEE)):
        other = tail.clone()
        other[0, changed] = token
        states = planner.states(torch.cat([prompt, other], 1))[:, -tail.shape[1] :]
        same = [
            torch.allclose(a, b, atol=1e-6)
            for a, b in zip(states.split((seen, 5), 1), base.split((seen, 5), 1), strict=True)
        ]
        assert same == ([False, False] if changed == 0 else [True, False])


@torch.inference_mode()
def test_padding_changes_nothing():
    planner = randomised(VAPlanner(PLANNER))
    row = planner.language.prompt("a bell rings") + planner.language.write(Timeline((Event(0.5, "bell", "left"),)))
    plain, padded = (planner(batched([row], width=len(row) + extra))[1] for extra in (0, 7))
    assert close(plain, padded, 1e-4)
    assert PAD not in row
    assert row[-1] == END
    assert TIMELINE in row


def reading(heard, seen):
    return Reading(heard, {}, Seen(seen, (0.0,) * 8, torch.zeros(3, 8, 6)))


def test_a_plan_is_kept_where_both_streams_have_its_event():
    plan = {"bell": (0.5, 1.0), "drum": (1.5,)}
    take = reading({"bell": (0.52, 1.3), "drum": (1.5,)}, {"bell": (0.46, 1.0), "ball": (1.5,)})
    assert plan_scores(plan, take) == {"plan_realised": 1 / 3, "plan_error_ms": pytest.approx(30.0)}
    assert plan_scores({}, take) == {}
    assert plan_scores({"bell": (0.5,)}, reading({}, {})) == {"plan_realised": 0.0}


def test_an_edit_moves_one_event_by_as_much_as_is_asked():
    for prompt in bench_prompts(200, DEVELOPMENT, strata=AUDIBLE):
        before, after = (timeline_of(scene).events for scene in (prompt.scene, edited(prompt).scene))
        assert len(before) == len(after)
        gone, come = ([e for e in a if e not in b] for a, b in ((before, after), (after, before)))
        assert len(gone) == len(come) == 1
        assert 0.3 <= abs(gone[0].when - come[0].when) <= 0.8


def test_an_edit_stays_local_where_the_rest_is_left_alone():
    moved = (Event(0.5, "bell", "left"), Event(0.9, "bell", "left"))
    before = reading({"bell": (0.5, 1.5), "drum": (1.0,)}, {"bell": (0.52, 1.5), "drum": (1.0,)})
    after = reading({"bell": (0.9, 1.52), "drum": (1.0,)}, {"bell": (0.9, 1.5), "drum": (0.96,)})
    assert stays(before, after, moved)
    assert not stays(before, reading({"bell": (0.9, 1.6), "drum": (1.0,)}, after.seen.events), moved)
    assert not stays(before, reading({"bell": (0.9, 1.5)}, after.seen.events), moved)
    assert not stays(before, replace(after, sides={"bell": "right"}), moved)


def test_the_oracles_plan_and_its_shuffle_hold_the_same_tokens():
    prompts = bench_prompts(2, DEVELOPMENT, strata=("single",))
    probes = Probes.load()
    true, mixed = oracle_plan(probes, prompts), shuffled_plan(probes, prompts)
    for a, b in zip(true, mixed, strict=True):
        assert torch.equal(a.places, b.places)
        assert not torch.equal(a.tokens, b.tokens)
        assert torch.allclose(a.tokens.sort(1).values, b.tokens.sort(1).values)


def test_plans_of_some_samples_are_joined_and_parted(plan):
    singles = [select_rows(plan, slice(i, i + 1)) for i in range(2)]
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(join_plans(singles), plan, strict=True))


def test_the_shipped_planner_writes_what_the_prompt_says():
    planner = load_planner()
    timeline = planner.write("a small red bell rings slowly on the left at night", "", seed=0)
    assert {(e.what, e.where, e.heard, e.seen) for e in timeline.events} == {("bell", "left", True, True)}


def test_a_plan_is_written_edited_and_kept_by_the_command(tmp_path, capsys):
    prompt = "a small red bell rings slowly on the left at night"
    assert main(["plan", prompt, "--seed", "3", "-o", f"{tmp_path}/a.txt", "--picture", f"{tmp_path}/a.png"]) == 0
    assert Timeline.read((tmp_path / "a.txt").read_text()).events
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    (tmp_path / "b.json").write_text(json.dumps([{"when": 0.3, "what": "bell", "where": "left"}]))
    assert main(["plan", prompt, "--edit", f"{tmp_path}/b.json"]) == 0
    assert capsys.readouterr().out.strip() == "0.30 bell left"
    options = ["--plan", f"{tmp_path}/b.json", "--steps", "4", "--seed", "5"]
    assert main(["generate", prompt, *options, "-o", f"{tmp_path}/b.mp4"]) == 0
    assert main(["generate", prompt, *options, "--seconds", "1", "-o", f"{tmp_path}/c.mp4"]) == 2
    assert "clips of 2 s alone" in capsys.readouterr().err
    (tmp_path / "bad.txt").write_text("0.3 bell")
    assert main(["generate", prompt, "--plan", f"{tmp_path}/bad.txt", "-o", f"{tmp_path}/c.mp4"]) == 2
    assert not (tmp_path / "c.mp4").exists()
