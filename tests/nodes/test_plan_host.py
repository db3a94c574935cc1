"""Plans inside a real ComfyUI: the planner, editing, and the effect of a plan on the network."""

from types import SimpleNamespace

import pytest
import torch

from duet_av.pipelines.bench.readings import Probes, read
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.timeline import Timeline
from duet_av.pipelines.guidance.modifiers import PlanScale
from duet_av.pipelines.guidance.strategy import PerStreamCFG
from duet_av.pipelines.models.planner.load import load_planner
from duet_av.pipelines.models.planner.request import plan_request
from duet_av.pipelines.models.pocket.add_ons import with_add_on
from duet_av.pipelines.models.pocket.generate import Request, decode, sample
from duet_av.pipelines.models.pocket.load import PocketModel

PROMPT = "a small red bell rings slowly on the left at night"
MOVED = "0.30 bell left\n1.20 bell left"
STRATEGY = PerStreamCFG(2.0, 2.0)


@pytest.fixture
def planned(run, loaded):
    model, planner = run("DuetLoadPlanner", loaded[0])
    positive, negative = run("DuetEncodePrompt", loaded[1], PROMPT, "", "")[:2]
    plan, _ = run("DuetPlanner", planner, PROMPT, "", 3, 1.0, "timeline")
    latent = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 0, 1)[0]
    return SimpleNamespace(
        base=loaded[0], model=model, planner=planner, plan=plan, positive=positive, negative=negative, latent=latent
    )


def sampled(run, parts, plan, strategy=STRATEGY, *, model=None, steps=6):
    positive, negative = run("DuetApplyConditions", parts.positive, parts.negative, "as trained", plan)
    guider = run("DuetGuider", model or parts.model, positive, strategy, negative)[0]
    return run("DuetSampler", guider, parts.latent, 5, steps)[0]["samples"].unbind()


def difference(a, b):
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True))


def test_without_a_plan_the_output_is_unchanged(run, planned):
    assert planned.model is not planned.base
    assert difference(sampled(run, planned, None), sampled(run, planned, None, model=planned.base)) == 0
    assert difference(sampled(run, planned, planned.plan), sampled(run, planned, None)) > 1e-2


def test_the_host_and_the_command_line_generate_the_same_plan(run, planned):
    edited = run("DuetEditPlan", planned.planner, planned.plan, MOVED)[0]
    model, planner = PocketModel.load(), load_planner()
    request = Request([PROMPT], seed=5, steps=6, strategy=STRATEGY)
    streams = plan_request(planner, [PROMPT], None, Timeline.read(MOVED))
    own = sample(with_add_on(model.network, "plan"), model.text, Request(**{**vars(request), "plan": streams}))
    assert difference(sampled(run, planned, edited), own) < 1e-4


def test_video_and_audio_follow_the_edited_plan(run, planned):
    edited = run("DuetEditPlan", planned.planner, planned.plan, MOVED)[0]
    streams = sampled(run, planned, edited, steps=25)
    model = PocketModel.load()
    from duet_av.pipelines.core.streams import Streams

    (take,) = read(Probes.load(), decode(model, Streams(*streams), ClipShape()))
    for events in (take.heard["bell"], take.seen.events["bell"]):
        assert len(events) == 2
        assert max(abs(t - at) for t, at in zip(sorted(events), (0.3, 1.2), strict=True)) < 0.125


def test_plan_scale_one_changes_nothing_and_above_one_strengthens_the_plan(run, planned):
    plain = sampled(run, planned, planned.plan)
    assert difference(sampled(run, planned, planned.plan, PlanScale(STRATEGY, 1.0, 1.0)), plain) == 0
    assert difference(sampled(run, planned, planned.plan, PlanScale(STRATEGY, 2.0, 2.0)), plain) > 1e-2


def test_an_empty_timeline_keeps_the_plan_and_a_text_replaces_it(run, planned):
    same, text, picture = run("DuetEditPlan", planned.planner, planned.plan, " ")
    assert same is planned.plan
    assert text == str(planned.plan.timeline)
    assert picture.shape[-1] == 3
    other, text, _ = run("DuetEditPlan", planned.planner, planned.plan, MOVED)
    assert text == MOVED
    assert other.video == PROMPT


def test_the_editor_is_told_length_words_and_beats(comfy, planned):
    rate, beats = 16_000, [0.2, 0.6, 1.0, 1.4, 1.8]
    waveform = torch.zeros(1, 1, 2 * rate)
    for beat in beats:
        waveform[..., round(beat * rate) :][..., :200] = torch.hann_window(400)[200:] * torch.tensor(
            [1.0, -1.0]
        ).repeat(100)
    audio = {"waveform": waveform, "sample_rate": rate}
    (state,) = comfy.pack["DuetEditPlan"].execute(planned.planner, planned.plan, MOVED, audio).ui["duet_timeline"]
    assert (state["timeline"], state["seconds"]) == (MOVED, 2.0)
    assert "bell" in state["words"]
    assert max(abs(a - b) for a, b in zip(state["onsets"], beats, strict=True)) < 0.02
    assert max(state["wave"]["peaks"]) == 1.0
    output = comfy.pack["DuetTimelinePrompt"].execute("a dog barks", "prose", "", 5.0, 0, None, audio)
    assert output.args[1] == ""
    assert output.ui["duet_timeline"][0]["onsets"] == state["onsets"]


def test_the_seed_changes_the_plan_and_paper_mode_writes_no_timeline(run, planned):
    texts = {run("DuetPlanner", planned.planner, PROMPT, "", seed, 1.0, "timeline")[1] for seed in range(4)}
    assert len(texts) > 1
    plan, text = run("DuetPlanner", planned.planner, PROMPT, "", 0, 1.0, "paper")
    assert (text, plan.timeline) == ("", None)


@pytest.mark.parametrize(
    ("text", "message"), [("0.3 bell", "Line 1"), ("0.3 bell up", "left, middle, right"), ("x bell left", "Line 1")]
)
def test_an_invalid_line_is_rejected_before_anything_runs(comfy, text, message):
    assert message in comfy.pack["DuetEditPlan"].validate_inputs(text)


def test_errors_name_what_cannot_be_planned(run, planned):
    with pytest.raises(ValueError, match="this planner knows ball"):
        run("DuetEditPlan", planned.planner, planned.plan, "0.3 dog left")
    with pytest.raises(ValueError, match="the clip ends at 2 s"):
        run("DuetEditPlan", planned.planner, planned.plan, "2.5 bell left")


def test_a_plan_for_a_model_without_plan_layers_is_rejected(run, planned):
    with pytest.raises(ValueError, match="MODEL of 'Duet Load Planner'"):
        sampled(run, planned, planned.plan, model=planned.base)


def test_loras_are_preserved_when_plan_layers_are_added(run, planned):
    import comfy.sd

    name = "diffusion_model.blocks.video.0.feed_forward.0"
    lora = {f"{name}.lora_A.weight": torch.randn(4, 192), f"{name}.lora_B.weight": torch.randn(768, 4)}
    changed = comfy.sd.load_lora_for_models(planned.base, None, lora, 1.0, 0)[0]
    both = run("DuetLoadPlanner", changed)[0]
    assert difference(sampled(run, planned, None, model=both), sampled(run, planned, None, model=changed)) == 0
    assert difference(sampled(run, planned, None, model=both), sampled(run, planned, None)) > 1e-3


@pytest.mark.parametrize("computed", [torch.bfloat16, torch.float32])
def test_plan_layers_run_in_either_precision(run, loaded, monkeypatch, planned, computed):
    import comfy.model_management

    full = sampled(run, planned, planned.plan, steps=2)
    monkeypatch.setattr(comfy.model_management, "unet_dtype", lambda **_: torch.bfloat16)
    cast = None if computed == torch.bfloat16 else computed
    monkeypatch.setattr(comfy.model_management, "unet_manual_cast", lambda *_: cast)
    model = run("DuetLoadPlanner", planned.base)[0]
    assert model.model.get_dtype_inference() == computed
    found = sampled(run, planned, planned.plan, model=model, steps=2)
    assert all(
        torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99
        for a, b in zip(found, full, strict=True)
    )


def test_a_saved_plan_loads_unchanged(run, planned, comfy, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path / "out"))
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path / "in"))
    edited = run("DuetEditPlan", planned.planner, planned.plan, MOVED)[0]
    for _ in range(2):
        comfy.pack["DuetSavePlan"].execute(edited, "duet/bell")
    files = comfy.pack["DuetLoadPlan"].define_schema().inputs[1].options
    assert files == ["duet/bell_00001.plan.json [output]", "duet/bell_00002.plan.json [output]"]
    plan, text = run("DuetLoadPlan", planned.planner, files[0])
    assert (text, plan.saved) == (MOVED, edited.saved)
    assert difference(sampled(run, planned, plan), sampled(run, planned, edited)) == 0
    with pytest.raises(ValueError, match="not among the saved plans"):
        run("DuetLoadPlan", planned.planner, "../secret.plan.json")


def test_a_qwen3_writes_timelines_but_no_plan_tokens(run, comfy, qwen_folder):
    import folder_paths

    folder_paths.add_model_folder_path("LLM", str(qwen_folder.parent))
    assert comfy.pack["DuetLoadTimelineWriter"].define_schema().inputs[0].options == [qwen_folder.name]
    writer = run("DuetLoadTimelineWriter", qwen_folder.name)[0]
    prompt, timeline = run("DuetTimelinePrompt", "a dog barks", "beats", "", 3.0, 0, writer)
    assert Timeline.read(timeline).events
    assert len(prompt.splitlines()) == 1 + len(Timeline.read(timeline).events)
    with pytest.raises(ValueError, match="no trained towers"):
        run("DuetPlanner", writer, "a dog barks", "", 0, 1.0, "timeline")
    with pytest.raises(ValueError, match="not a Qwen3 folder"):
        run("DuetLoadTimelineWriter", "gone")


def test_a_timeline_becomes_text(run, planned):
    prompt, timeline = run("DuetTimelinePrompt", "a dog barks", "prose", "1.2 dog right", 5.0, 0)
    assert "at 1.2 seconds, the dog on the right is seen and heard" in prompt
    assert timeline == "1.20 dog right"
    assert run("DuetTimelinePrompt", PROMPT, "prose", "", 2.0, 0, planned.planner)[1]
    with pytest.raises(ValueError, match=r"trained on clips of 2 s; the clip has 5 s"):
        run("DuetTimelinePrompt", PROMPT, "prose", "", 5.0, 0, planned.planner)
    with pytest.raises(ValueError, match="the clip ends at 1 s"):
        run("DuetTimelinePrompt", "a dog barks", "prose", "1.2 dog right", 1.0, 0)
    with pytest.raises(ValueError, match="no planner to write one"):
        run("DuetTimelinePrompt", "a dog barks", "prose", "", 5.0, 0)
