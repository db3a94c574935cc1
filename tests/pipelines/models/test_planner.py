"""The planner: its language, its grammar, and the timelines it writes."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.timeline import PLACES, Event, Timeline
from duet_av.pipelines.models.planner.language import END, HEAR, MAX_EVENTS, PAD, SEE, TICKS, TIMELINE, PlanLanguage
from duet_av.pipelines.models.planner.load import load_planner
from duet_av.pipelines.models.planner.planner import PlannerConfig, VAPlanner, batched
from duet_av.pipelines.world.scene import SOUNDING

WORDS = ("a", "bell", "rings", "on", "the", "left")


PLANNER = PlannerConfig(WORDS, SOUNDING, keyframes=4, blocks=5, video=6, audio=7, dim=32, depth=2, heads=4)


def randomised(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.eval().requires_grad_(False)


# Plain values: building events inside a strategy would make the type checker draw random numbers there.
EVENTS = st.tuples(
    st.integers(0, 199), st.sampled_from(SOUNDING), st.sampled_from(PLACES), st.sampled_from([(1, 1), (0, 1), (1, 0)])
)


@given(st.lists(EVENTS, max_size=MAX_EVENTS))
@settings(max_examples=60, deadline=None)
def test_a_timeline_survives_text_and_json_exactly_and_tokens_to_one_tick(rows):
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
def test_an_invalid_line_is_reported_with_its_number(text, message):
    with pytest.raises(ValueError, match=message):
        Timeline.read(text)


@pytest.mark.parametrize("text", ["{", "[1]", '[{"when": 0.1}]', '[{"when": "x", "what": "bell", "where": "left"}]'])
def test_json_that_is_not_a_timeline_is_refused(text):
    with pytest.raises(ValueError, match=r"timeline|event"):
        Timeline.from_json(text)


@given(st.integers(0, 2**32 - 1), st.floats(0, 3))
@settings(max_examples=15, deadline=None)
def test_random_weights_write_only_valid_timelines(seed, temperature):
    torch.manual_seed(seed % 7)
    planner = randomised(VAPlanner(PLANNER))
    timeline = planner.write("a bell rings", "", seed=seed, temperature=temperature)
    assert Timeline.read(str(timeline)) is not None
    assert planner.language.read(planner.language.write(timeline)) == timeline
    assert [e.when for e in timeline.events] == sorted(e.when for e in timeline.events)


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_a_temperature_with_which_nothing_can_be_drawn_is_refused(temperature):
    with pytest.raises(ValueError, match="The temperature is"):
        VAPlanner(PLANNER).write("a bell rings", "", seed=0, temperature=temperature)


def test_equal_seeds_give_equal_timelines():
    planner = randomised(VAPlanner(PLANNER))
    texts = [str(planner.write("a bell rings", "", seed=seed)) for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_timelines_that_cannot_be_encoded_are_refused():
    language = PlanLanguage(list(WORDS), SOUNDING, 2.0)
    with pytest.raises(ValueError, match="knows ball"):
        language.write(Timeline((Event(0.1, "dog", "left"),)))
    with pytest.raises(ValueError, match="but the clip ends at 2 s"):
        language.write(Timeline((Event(2.0, "bell", "left"),)))
    with pytest.raises(ValueError, match="at most 16"):
        language.write(Timeline((Event(0.1, "bell", "left"),) * 17))


@torch.inference_mode()
def test_audio_placeholders_attend_to_video_placeholders_but_not_the_reverse():
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
def test_padding_does_not_change_the_output():
    planner = randomised(VAPlanner(PLANNER))
    row = planner.language.prompt("a bell rings") + planner.language.write(Timeline((Event(0.5, "bell", "left"),)))
    plain, padded = (planner(batched([row], width=len(row) + extra))[1] for extra in (0, 7))
    assert all(torch.allclose(a, b, atol=1e-4, rtol=0) for a, b in zip(plain, padded, strict=True))
    assert PAD not in row
    assert row[-1] == END
    assert TIMELINE in row


def test_the_shipped_planner_follows_the_prompt():
    planner = load_planner()
    timeline = planner.write("a small red bell rings slowly on the left at night", "", seed=0)
    assert {(e.what, e.where, e.heard, e.seen) for e in timeline.events} == {("bell", "left", True, True)}


def test_the_commands_write_edit_and_use_a_plan(tmp_path, capsys):
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
    assert "only supports clips of 2 s" in capsys.readouterr().err
    (tmp_path / "bad.txt").write_text("0.3 bell")
    assert main(["generate", prompt, "--plan", f"{tmp_path}/bad.txt", "-o", f"{tmp_path}/c.mp4"]) == 2
    assert not (tmp_path / "c.mp4").exists()
