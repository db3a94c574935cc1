"""The full-size planner, with tiny random weights in the official layout; timelines as files and as prompts."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duet_av.pipelines.core.saved_plan import SavedPlan, read_plan, read_timeline
from duet_av.pipelines.core.timeline import Event, Timeline, as_prompt
from duet_av.pipelines.models.planner.qwen import LineGrammar, cache_name, is_qwen, load_qwen

EVENTS = "0.35 bell left\n1.20 dog right unseen\n"


@pytest.fixture(scope="module")
def planner(qwen_folder):
    return load_qwen(qwen_folder)


def test_the_official_layout_has_several_files(qwen_folder):
    assert len(list(qwen_folder.glob("*.safetensors"))) > 1
    assert is_qwen(qwen_folder)
    assert not is_qwen(qwen_folder.parent)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 1.5])
def test_random_weights_write_valid_timelines(planner, temperature):
    for seed in range(2 if temperature else 1):
        timeline = planner.write("a bell rings", "", seed=seed, temperature=temperature, seconds=3.0)
        assert 1 <= len(timeline.events) <= 16
        assert all(event.when < 3.0 for event in timeline.events)
        assert Timeline.read(str(timeline)) == timeline


def test_equal_seeds_give_equal_timelines(planner):
    texts = [str(planner.write("a bell rings", "", seed=seed, seconds=2.0)) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


def test_the_caches_parameter_name_follows_the_installed_transformers():
    def before(input_ids, past_key_values=None): ...

    def since(input_ids, cache=None, **kwargs): ...

    assert [cache_name(forward) for forward in (before, since)] == ["past_key_values", "cache"]


def test_planning_tokens_is_refused_because_towers_are_not_released(planner):
    with pytest.raises(ValueError, match=r"no trained towers .*SigLIP2 and WavTokenizer"):
        planner.plan("a bell rings", "", None)


def test_a_folder_that_is_not_a_qwen3_is_refused(qwen_folder, tmp_path):
    with pytest.raises(ValueError, match="model_type 'qwen3'"):
        load_qwen(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    with pytest.raises(ValueError, match="pickles are not read"):
        load_qwen(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_qwen(tmp_path)


def test_only_prefixes_of_valid_timelines_are_allowed():
    grammar = LineGrammar(2.0)
    assert all(grammar.is_prefix(EVENTS[:k]) for k in range(len(EVENTS) + 1))
    assert [k for k in range(len(EVENTS) + 1) if grammar.may_end(EVENTS[:k])] == [15, 37]
    wrong = ("2.0", "x", "0.355", "0.35 Bell", "0.35 bell up", "0.35 bell left loud", "1.20 dog left\n0.3", "\n", " ")
    wrong += ("0.35 bell left \n", "0.35 bell  left", "0.35 bell left silent silent", "0.35 bell\n")
    assert [text for text in wrong if grammar.is_prefix(text)] == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("0123456789. \nbelrightf"), max_size=24).map("".join))
def test_every_allowed_prefix_can_be_completed(text):
    grammar = LineGrammar(2.0)
    if not grammar.is_prefix(text):
        return
    for _ in range(80):
        if grammar.may_end(text):
            break
        options = [c for c in "\n 0123456789.abelrightf" if grammar.is_prefix(text + c)]
        assert options, repr(text)
        text += options[0]
    assert Timeline.read(text).events


def test_a_saved_plan_is_read_back(tmp_path):
    plan = SavedPlan("a bell rings", "ding", Timeline.read(EVENTS), 7)
    assert SavedPlan.from_json(plan.to_json()) == plan
    (tmp_path / "a.plan.json").write_text(plan.to_json())
    assert read_plan(tmp_path / "a.plan.json") == plan
    assert read_timeline(tmp_path / "a.plan.json") == plan.timeline
    (tmp_path / "b.plan.json").write_text(SavedPlan("a", "", None, 0).to_json())
    with pytest.raises(ValueError, match="paper's mode"):
        read_timeline(tmp_path / "b.plan.json")
    for broken in ("{", "[]", '{"video": 1, "audio": "", "timeline": null, "seed": 0}', '{"video": "a"}'):
        (tmp_path / "c.plan.json").write_text(broken)
        with pytest.raises(ValueError, match="Not a saved plan"):
            read_plan(tmp_path / "c.plan.json")


def test_a_timeline_as_a_prompt():
    timeline = Timeline((Event(0.35, "bell", "left"), Event(1.2, "dog", "right", True, False)))
    prose = as_prompt("a bell rings at night", timeline, "prose")
    assert "\n" not in prose
    assert prose.startswith("A bell rings at night. First, at 0.3 seconds, the bell on the left is seen and heard.")
    assert prose.endswith("Then, at 1.2 seconds, the dog on the right is heard from off screen.")
    assert as_prompt("a bell.", timeline, "beats").splitlines()[1].startswith("[0.35s] the bell")
    with pytest.raises(ValueError, match="prose or beats"):
        as_prompt("a", timeline, "verse")
