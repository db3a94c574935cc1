# ruff: noqa: F811 - the fixture 'sample' is imported
"""Timed text on the host's own LTX-2 and MiniMax H3 classes, at tiny size with random weights, and on Duet's models."""

import json
from types import SimpleNamespace

import pytest
import torch
from test_guidance_host import cross, gap, guider, parts, sample, stock  # noqa: F401 - sample is a fixture

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.timed_events import TimedEvents
from duet_av.pipelines.guidance.strategy import PerStreamCFG
from duet_av.pipelines.guidance.timed import TimedText, joined

REST, BELL, DOG = "a room", "a room. a bell", "a room. a dog"


@pytest.fixture(params=["ltx", "h3"])
def host(request):
    return request.getfixturevalue(request.param)


def timed_host(host, words, events, rest_audio=REST):
    """The host with timed text: its rest text is the positive prompt, the texts of events are other random states."""
    from duet_av.nodes.host.timed import TimedPrompt
    from duet_av.nodes.host.timed_node import with_timed_text
    from duet_av.nodes.types import TIMED

    (states, options), width = host.positive[0], host.positive[0][0].shape[-1]
    lengths = {BELL: (21, 9), DOG: (22, 4), "silence": (23, 5)}
    encoded = {REST: (states, {})} | {text: (words(seed, n, width)[0][0], {}) for text, (seed, n) in lengths.items()}
    timed = TimedText.of(TimedEvents.read(events), Streams(REST, rest_audio), compose=joined)
    prompt = TimedPrompt(timed, {text: encoded[text] for text in timed.texts})
    more = SimpleNamespace(**vars(host))
    more.model = with_timed_text(host.model)
    more.positive = [[states, {**options, TIMED: prompt}]]
    alone = {text: [[z, options]] for text, (z, _) in encoded.items()}
    return more, {text: SimpleNamespace(**{**vars(host), "positive": p}) for text, p in alone.items()}


def test_a_patched_model_without_events_is_bit_identical(comfy, words, host, sample):
    patched, _ = timed_host(host, words, "0.1: a bell")
    plain = SimpleNamespace(**{**vars(host), "model": patched.model})
    assert gap(sample(stock(comfy, plain, 3.0), host.latent), sample(stock(comfy, host, 3.0), host.latent)) == 0


def test_an_event_over_the_whole_clip_equals_its_text_alone(comfy, words, host, sample):
    timed, alone = timed_host(host, words, "0-10: a bell")
    expected = sample(stock(comfy, alone[BELL], 3.0), host.latent)
    assert gap(sample(stock(comfy, timed, 3.0), host.latent), expected) < 1e-5
    assert gap(expected, sample(stock(comfy, host, 3.0), host.latent)) > 1e-2


def test_events_in_half_of_the_clip_change_the_result(comfy, words, host, sample):
    timed, alone = timed_host(host, words, "0.05-0.1: a bell\n0.06-0.3 audio 0.5: a dog")
    found = sample(stock(comfy, timed, 3.0), host.latent)
    for other in (host, alone[BELL]):
        assert gap(found, sample(stock(comfy, other, 3.0), host.latent)) > 1e-3


def test_a_strategy_with_timed_text_equals_a_stock_guider(comfy, run, words, host, sample):
    timed, _ = timed_host(host, words, "0.05-0.1: a bell")
    expected = sample(stock(comfy, timed, 3.0), host.latent)
    assert gap(sample(guider(run, timed, PerStreamCFG(3.0, 3.0)), host.latent), expected) < 1e-5


def test_closed_directions_stay_closed_with_timed_text(run, words, host, sample):
    """Cross-modal guidance of a whole-clip event equals that of its text alone."""
    strategy = cross(video=3.0, audio=2.0, a2v=3.0, v2a=2.0)
    timed, alone = timed_host(host, words, "0-10: a bell")
    expected = sample(guider(run, alone[BELL], strategy), host.latent)
    assert gap(sample(guider(run, timed, strategy), host.latent), expected) < 1e-5
    without = sample(guider(run, alone[BELL], PerStreamCFG(3.0, 2.0)), host.latent)
    assert gap(expected, without) > 1e-3


def test_an_attention_override_of_another_node_is_called(comfy, words, host, sample):
    timed, _ = timed_host(host, words, "0.05-0.1: a bell")
    expected, used = sample(stock(comfy, timed, 1.0), host.latent), []
    model = timed.model.clone()

    def override(attention, *args, **kwargs):
        used.append((args[0].shape[-2], args[1].shape[-2]))
        return attention(*args, **kwargs)

    model.model_options["transformer_options"] = {"optimized_attention_override": override}
    assert gap(sample(stock(comfy, timed, 1.0, model), host.latent), expected) == 0
    assert len(set(used)) > 2


def test_each_stream_can_have_its_own_text_for_the_whole_clip(comfy, words, host, sample):
    timed, _ = timed_host(host, words, "", rest_audio="silence")
    assert gap(sample(stock(comfy, timed, 1.0), host.latent), sample(stock(comfy, host, 1.0), host.latent)) > 1e-3


def test_an_event_after_the_end_of_the_latent_is_refused_at_its_line(comfy, words, host, sample):
    timed, _ = timed_host(host, words, "0.1: a bell\n30-31: a dog")
    with pytest.raises(ValueError, match=r"Line 2 of the timed events, .* the clip ends at "):
        sample(stock(comfy, timed, 1.0), host.latent)


def run_timed(run, model, clip, video, timeline, **more):
    settings = {"audio": "", "seconds": 2.0, "strength": 1.0, "soft_edges": 0.0, "repeat_prompt": True}
    return run("DuetTimedPrompt", model, clip, video, timeline=timeline, **{**settings, **more})


BALL = "a large red ball bounces once on the left in a meadow"


def pocket_sample(run, pocket, model, positive):
    guider = run("DuetGuider", model, positive, PerStreamCFG(3.0, 3.0), pocket.negative)[0]
    return parts(run("DuetSampler", guider, {"samples": pocket.latent}, 3, 2)[0]["samples"])


def test_the_node_on_the_pocket_model(run, loaded, pocket):
    model, clip = loaded[:2]
    plain = run("DuetEncodePrompt", clip, BALL, "", "")[0]
    expected = pocket_sample(run, pocket, model, plain)
    same, positive, plan, text = run_timed(run, model, clip, BALL, "# none")
    assert same is model
    assert text.startswith("no events")
    assert gap(pocket_sample(run, pocket, same, positive), expected) == 0
    timed, positive, plan, text = run_timed(run, model, clip, BALL, "0-2: the ball")
    whole = pocket_sample(run, pocket, timed, plain)
    assert gap(whole, expected) > 1e-3, "the LoRA for timed text is on"
    assert gap(pocket_sample(run, pocket, timed, positive), whole) < 1e-5
    again = run_timed(run, timed, clip, BALL, "0-2: the ball")[0]
    assert gap(pocket_sample(run, pocket, again, plain), whole) == 0, "and only once"
    assert plan.timed == TimedEvents.read("0-2: the ball")
    assert text == f"whole clip: a large red ball on the left in a meadow\n0-2 both: {BALL}"
    _, positive, _, _ = run_timed(run, model, clip, BALL, "0.5 audio: the ball")
    assert gap(pocket_sample(run, pocket, model, positive), expected) > 1e-2


def test_the_node_equals_the_command_line_on_the_pocket_model(run, loaded, pocket):
    from duet_av.pipelines.models.choose import with_timed_text
    from duet_av.pipelines.models.pocket.generate import Request
    from duet_av.pipelines.models.pocket.generate import sample as sample_alone
    from duet_av.pipelines.models.pocket.load import PocketModel

    own = with_timed_text(PocketModel.load())
    events = "0.5: the ball\n1.1-1.4 audio 0.7: the ball"
    request = Request([BALL], seed=3, steps=2, strategy=PerStreamCFG(3.0, 3.0), timed=[TimedEvents.read(events)])
    model, positive, _, _ = run_timed(run, loaded[0], loaded[1], BALL, events)
    assert gap(pocket_sample(run, pocket, model, positive), list(sample_alone(own.network, own.text, request))) < 1e-4


@pytest.mark.parametrize("name", ["JavisDiT-v0.1-jav-240p4s/", "JavisDiT-v1.0-jav/"])
def test_the_node_on_javisdit(run, javis_folder, name):
    network, clip, *_ = run("DuetLoadAV", name, "auto", "auto", "auto")
    latent = run("DuetEmptyLatent", network, 64, 64, 0.7, 0, 1)[0]
    negative = run("DuetEncodePrompt", clip, "a room", "", "noise")[1]

    def sampled(model, positive):
        guider = run("DuetGuider", model, positive, PerStreamCFG(3.0, 3.0), negative)[0]
        return parts(run("DuetSampler", guider, latent, 3, 2)[0]["samples"])

    expected = sampled(network, run("DuetEncodePrompt", clip, "a room. a bell", "", "")[0])
    timed = run_timed(run, network, clip, "a room", "0-10: a bell", seconds=10.0)
    assert gap(sampled(*timed[:2]), expected) < 1e-5
    timed = run_timed(run, network, clip, "a room", "0.1-0.4 audio: a bell")
    assert gap(sampled(*timed[:2]), expected) > 1e-3


def test_the_editor_gets_the_events_of_a_connected_plan_and_the_beats_of_a_song(comfy, run, loaded):
    model, clip = loaded[:2]
    _, _, plan, _ = run_timed(run, model, clip, "a clock ticks", "0.5 audio: the clock\n1-1.4: the clock")
    clicks = torch.zeros(1, 2, 32_000)
    clicks[..., 4000::8000] = 0.9
    song = {"waveform": clicks, "sample_rate": 16_000}
    node = comfy.pack["DuetTimedPrompt"]
    output = node.execute(model, clip, "a clock ticks", "", "", 2.0, 1.0, 0.0, True, plan, song)
    (state,) = output.ui["duet_timeline"]
    assert state["timeline"] == "0.5 audio: the clock\n1-1.4 both: the clock"
    assert state["onsets"] == pytest.approx([0.25, 0.75, 1.25, 1.75], abs=0.03)
    assert state["wave"]["seconds"] == 2.0
    assert output.ui["text"] == (output.args[3],)
    written = node.execute(model, clip, "a clock ticks", "", "0.5: the clock", 2.0, 1.0, 0.0, True, plan, song)
    assert written.ui["duet_timeline"][0]["timeline"] == "", (
        "the editor shows the widget's own text, also once it is empty"
    )


def test_bad_timelines_are_refused_before_anything_is_encoded(comfy, run, loaded):
    node = comfy.pack["DuetTimedPrompt"]
    assert "Line 2 of the timed events" in node.validate_inputs(video="x", timeline="0.5: a bell\nlater: a bell")
    assert "video prompt is empty" in node.validate_inputs(video=" ", timeline="")
    assert node.validate_inputs(video="x", timeline="0.5: a bell") is True
    with pytest.raises(ValueError, match=r"Line 1 of the timed events, .* the clip ends at 2 s"):
        run_timed(run, *loaded[:2], BALL, "2.5: the ball")
    with pytest.raises(ValueError, match="names none of the subjects"):
        run_timed(run, *loaded[:2], BALL, "0.5: the drum")


def test_other_models_are_refused_with_an_alternative(run, loaded, h3):
    import comfy.model_base
    import comfy.model_patcher

    other = h3.model.clone()
    other.model = comfy.model_base.BaseModel.__new__(comfy.model_base.BaseModel)
    with pytest.raises(ValueError, match="use 'Duet Timeline Prompt'"):
        run_timed(run, other, loaded[1], BALL, "0.5: the ball")


def test_a_timed_plan_has_no_tokens_for_plan_layers(run, loaded, pocket):
    plan = run_timed(run, *loaded[:2], BALL, "0.5: the ball")[2]
    with pytest.raises(ValueError, match="timed events without plan tokens"):
        run("DuetApplyConditions", pocket.positive, pocket.negative, "as trained", plan=plan)


def test_the_plan_report_of_a_generated_clip(run, loaded, pocket):
    model, positive, plan, _ = run_timed(run, *loaded[:2], BALL, "0.6: the ball\n1.2 audio: the ball")
    guider = run("DuetGuider", model, positive, PerStreamCFG(3.0, 3.0), pocket.negative)[0]
    latent = {"samples": pocket.latent}
    sampled = run("DuetSampler", guider, latent, 3, 4)[0]
    images, audio, fps = run("DuetDecode", sampled, *loaded[2:4], False)
    rate, off, text, data, picture = run("DuetPlanReport", plan, images[0], audio[0], fps)
    assert 0 <= rate <= 1
    assert off >= 0
    assert "of 2 events within 125 ms" in text
    assert "the probes of the pocket world" in text
    assert [event["asked"] for event in json.loads(data)["events"]] == [0.6, 1.2]
    assert picture.shape[-1] == 3
    assert "onsets of audio and motion" in run("DuetPlanReport", plan, images[0], audio[0], fps, "any clip")[2]
    empty = run_timed(run, *loaded[:2], BALL, "# none")[2]
    with pytest.raises(ValueError, match="The plan has no events"):
        run("DuetPlanReport", empty, images[0], audio[0], fps)


def test_a_sweep_by_planned_times_needs_a_plan(run, loaded, pocket, tmp_path, monkeypatch):
    import folder_paths

    from duet_av.pipelines.bench.takes import PLANNED

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    model, positive, plan, _ = run_timed(run, *loaded[:2], BALL, "0.6: the ball")
    guider = run("DuetGuider", model, positive, PerStreamCFG(1.0, 1.0), pocket.negative)[0]
    settings = {"seed": 5, "takes": 2, "keep": 1, "score": PLANNED, "label": "", "steps": 2}
    with pytest.raises(ValueError, match="needs events to compare with"):
        run("DuetSeedSweep", guider, {"samples": pocket.latent}, *loaded[2:4], **settings)
    takes = run("DuetSeedSweep", guider, {"samples": pocket.latent}, *loaded[2:4], **settings, plan=plan)[3]
    assert all("plan_hits" in take.numbers for take in takes.takes)


def test_a_strategy_refuses_timed_text_on_a_model_that_does_not_read_it(run, words, host):
    timed, _ = timed_host(host, words, "0.1: a bell")
    with pytest.raises(ValueError, match="Connect the MODEL of 'Duet Timed Prompt'"):
        run("DuetGuider", host.model, timed.positive, PerStreamCFG(3.0, 3.0), host.positive)


@pytest.mark.parametrize("name", ["JavisDiT-v0.1-jav-240p4s/", "JavisDiT-v1.0-jav/"])
def test_prompts_with_other_times_do_not_share_a_batch(run, javis_folder, name):
    network, clip, *_ = run("DuetLoadAV", name, "auto", "auto", "auto")
    latent = run("DuetEmptyLatent", network, 64, 64, 0.7, 0, 1)[0]
    early, late = (run_timed(run, network, clip, "a room", f"{t}: a bell")[1] for t in ("0-0.3", "0.3-0.7"))

    def sampled(positive, negative, scale):
        guider = run("DuetGuider", network, positive, PerStreamCFG(scale, scale), negative)[0]
        return parts(run("DuetSampler", guider, latent, 3, 1)[0]["samples"])

    one, other = sampled(early, early, 1.0), sampled(late, late, 1.0)
    assert gap(one, other) > 1e-3
    both = [3 * a - 2 * b for a, b in zip(one, other, strict=True)]  # x0 is linear in the scale after one step
    assert gap(sampled(early, late, 3.0), both) < 1e-3


def test_another_saved_plan_in_the_same_graph_has_another_folder(run, loaded, pocket):
    from duet_av.nodes.host.takes import sweep_folder

    found = set()
    for times in ("0.6", "0.9"):
        model, positive, plan, _ = run_timed(run, *loaded[:2], BALL, f"{times}: the ball")
        plain = run("DuetGuider", model, pocket.positive, PerStreamCFG(1.0, 1.0), pocket.negative)[0]
        guider = run("DuetGuider", model, positive, PerStreamCFG(1.0, 1.0), pocket.negative)[0]
        found |= {sweep_folder({}, "", {"samples": pocket.latent}, guider)}
        found |= {sweep_folder({}, "", {"samples": pocket.latent}, plain, plan)}
    assert len(found) == 4
