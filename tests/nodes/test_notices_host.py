"""What the nodes show about their settings: costs, settings without effect, doubled guidance, and requests outside the training domain."""

from types import SimpleNamespace

import pytest
import torch

from duet_av.pipelines.guidance.modifiers import PlanScale
from duet_av.pipelines.guidance.strategy import UCG, PerStreamCFG

CROSS = UCG("U3", 1.0, 1.0, 2.0, 2.0, masked=True)


def guider(run, host, strategy, model=None):
    return run("DuetGuider", model or host.model, host.positive, strategy, host.negative)[0]


@pytest.mark.parametrize(
    ("node", "arguments", "text"),
    [
        ("CFG", (1.0, 1.0), "video and audio are 1, so this strategy has no effect."),
        ("UCG", ("sync only (U5)", 3.0, 3.0, 1.0, 1.0), "audio_to_video and video_to_audio are 1"),
        ("CrossModal", (1.0, 1.0, 1.0, 1.0), "has no effect"),
        ("Window", (PerStreamCFG(), 0.5, 0.5), "The window starts and ends at noise level 0.5"),
        ("Schedule", (PerStreamCFG(), 0.0, 0.0), "The strength is 0 at every step"),
        ("Plan", (PerStreamCFG(), 1.0, 1.0), "Both scales are 1"),
        ("Rescale", (PerStreamCFG(), 0.0, 0.0), "nothing is rescaled"),
        ("APG", (PerStreamCFG(), 1.0, 0.0), "APG has no effect"),
        ("CFG", (30.0, 3.0), "The scale video is 30; values above 10 usually degrade the clip"),
        ("CrossModal", (1.0, 1.0, 30.0, 2.0), "The scale audio_to_video is 30"),
        ("UCG", ("text only (U4)", 3.0, 3.0, 30.0, 1.0), ""),
        ("CFG", (3.0, 1.0), ""),
        ("Window", (PerStreamCFG(1.0, 1.0), 1.0, 0.3), ""),
    ],
)
def test_a_strategy_without_effect_or_with_a_high_scale_says_so(shown, node, arguments, text):
    found = shown(f"DuetStrategy{node}", *arguments)
    assert text in found if text else found == ""


def test_an_inverted_window_is_rejected(run, pocket):
    with pytest.raises(ValueError, match="start >= end"):
        run("DuetStrategyWindow", PerStreamCFG(), 0.2, 0.8)
    with pytest.raises(ValueError, match=r"start_percent is 0.8 and end_percent 0.2"):
        run("DuetCrossModalGuidance", pocket.model, 2.0, 2.0, 0.8, 0.2)


def test_cross_modal_guidance_without_effect_says_so(shown, pocket):
    assert "both scales are 1" in shown("DuetCrossModalGuidance", pocket.model, 1.0, 1.0, 0.0, 1.0)
    assert "starts and ends at the same step" in shown("DuetCrossModalGuidance", pocket.model, 2.0, 2.0, 0.5, 0.5)
    assert shown("DuetCrossModalGuidance", pocket.model, 2.0, 2.0, 0.0, 1.0).startswith("1 extra pass per step")


@pytest.mark.parametrize("family", ["ltx", "h3", "pocket"])
def test_a_guider_without_a_strategy_is_plain_conditional_sampling(comfy, run, request, family):
    host = request.getfixturevalue(family)
    plain, cost = run("DuetGuider", host.model, host.positive)
    assert cost.startswith("1 pass per step; no strategy is connected")
    expected = comfy.samplers.CFGGuider(host.model)
    expected.set_conds(host.positive, host.negative)
    expected.set_cfg(1.0)
    sigmas = comfy.samplers.calculate_sigmas(host.model.get_model_object("model_sampling"), "simple", 3)
    noise = comfy.nested(
        [torch.randn(z.shape, generator=torch.Generator().manual_seed(3)) for z in host.latent.unbind()]
    )
    euler = comfy.samplers.sampler_object("euler")
    results = [
        g.sample(noise, host.latent, euler, sigmas, seed=1, disable_pbar=True).unbind() for g in (plain, expected)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_plan_guidance_needs_plan_layers_and_a_plan(run, shown, pocket):
    strategy = PlanScale(PerStreamCFG(1.0, 1.0), 1.5, 1.5)
    with pytest.raises(ValueError, match="no layers that read a plan"):
        guider(run, pocket, strategy)
    model, planner = run("DuetLoadPlanner", pocket.model)
    assert "the positive prompt has no plan" in shown("DuetGuider", model, pocket.positive, strategy)
    plan = run("DuetPlanner", planner, "a red ball bounces slowly on the left", "", 1, 1.0, "auto")[0]
    planned = run("DuetApplyConditions", pocket.positive, pocket.negative, "as trained", plan)[0]
    assert "has no plan" not in shown("DuetGuider", model, planned, strategy)


def test_the_hosts_modality_guidance_is_counted_and_never_doubled(run, ltx):
    from comfy_extras.nodes_lt import LTXVModalityGuidance, LTXVSpatioTemporalGuidance

    model = LTXVModalityGuidance.execute(ltx.model, 3.0, 0.0, 1.0).args[0]
    with pytest.raises(ValueError, match="effect would be doubled"):
        guider(run, ltx, CROSS, model)
    with pytest.raises(ValueError, match="effect would be doubled"):
        run("DuetCrossModalGuidance", model, 2.0, 2.0, 0.0, 1.0)
    stacked = LTXVSpatioTemporalGuidance.execute(model, 1.0, "1", 0.0, 1.0).args[0]
    cost = run("DuetGuider", stacked, ltx.positive, PerStreamCFG(3.0, 3.0), ltx.negative)[1]
    assert cost == (
        "up to 2 passes per step, plus up to 1 for 'LTXVModalityGuidance' on the MODEL, plus up to 1 for "
        "'LTXVSpatioTemporalGuidance' on the MODEL"
    )


def test_the_sampler_shows_its_cost_and_unusual_sizes(run, shown, loaded, pocket):
    empty = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 16, 1)[0]
    strategy = PerStreamCFG(2.0, 2.0)
    assert shown("DuetSampler", guider(run, pocket, strategy), empty, 0, 3) == "3 steps, 6 network passes"
    wide = run("DuetEmptyLatent", loaded[0], 96, 64, 1.0, 16, 1)[0]
    text = shown("DuetSampler", guider(run, pocket, strategy), wide, 0, 1)
    assert text.startswith("1 step, 2 network passes\n96 x 64 pixels and 1 s: expect")


@pytest.mark.parametrize(
    ("family", "sampler", "warned"),
    [
        ("h3", "euler_ancestral", True),
        ("h3", "dpmpp_3m_sde_gpu", True),
        ("h3", "lcm", True),
        ("h3", "euler", False),
        ("pocket", "lcm", False),
    ],
)
def test_samplers_that_ruin_the_sound_of_h3_are_named(comfy, request, caplog, family, sampler, warned):
    from comfy.samplers import sampler_object

    from duet_av.nodes.host.notice import sampler_warning

    text = sampler_warning(request.getfixturevalue(family).model.model, sampler_object(sampler))
    assert (f"The sampler '{sampler}' is reported to ruin the sound" in text) == warned
    assert bool(text) == warned


def test_few_steps_of_javisdit_are_named(run, javis_folder, loaded):
    from duet_av.nodes.host.notice import steps_warning

    javis = run("DuetLoadAV", "JavisDiT-v1.0-jav/", "auto", "auto", "auto")[0]
    assert "usual are 30 for JavisDiT v0.1 and 50 for v1.0" in steps_warning(javis.model, 8)
    assert steps_warning(javis.model, 30) == steps_warning(loaded[0].model, 8) == ""


def test_an_empty_latent_outside_the_training_domain_warns(shown, loaded):
    assert shown("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 0, 4) == ""
    large = shown("DuetEmptyLatent", loaded[0], 512, 512, 2.0, 0, 1)
    assert large.startswith("512 x 512 pixels and 2 s: expect repeated or deformed objects")
    assert "at least 64 times the sampling time" in large
    assert "64 x 64 pixels and 8 s" in shown("DuetEmptyLatent", loaded[0], 64, 64, 8.0, 0, 1)


def test_the_node_shows_what_a_prompt_is_read_as_and_nothing_for_a_complete_caption(run, shown, loaded):
    text = shown("DuetEncodePrompt", loaded[1], "a wobbly ball", "", "blurry night")
    assert text.startswith("Prompt read as: ")
    assert "Unknown word, ignored: 'wobbly'" in text
    assert "replaced by 'something': 'blurry'" in text
    caption = "a small red ball bounces slowly on the left at night"
    assert shown("DuetEncodePrompt", loaded[1], caption, "", "") == ""
    with pytest.raises(ValueError, match=r"cannot generate 'dog'\. It knows, nearest first: bird"):
        run("DuetEncodePrompt", loaded[1], "a dog barks", "", "")


def test_prompt_weights_follow_a_word_into_the_caption_it_is_read_as(loaded):
    (tokens,), (plain,) = (loaded[1].tokenize(text)["duet"] for text in ("(big:1.5) ball", "big ball"))
    assert [token for token, _ in tokens] == [token for token, _ in plain]
    assert sorted({weight for _, weight in tokens}) == [1.0, 1.5]
    assert sum(weight == 1.5 for _, weight in tokens) == 1


def test_a_text_appears_on_its_node_before_the_node_has_finished_and_an_empty_one_removes_it(comfy, monkeypatch):
    from duet_av.nodes.host import notice

    sent = []
    server = SimpleNamespace(client_id="c", send_progress_text=lambda *message: sent.append(message))
    monkeypatch.setattr(notice.PromptServer, "instance", server, raising=False)
    node = type("Node", (comfy.pack["DuetSampler"],), {"hidden": SimpleNamespace(unique_id="7")})
    assert notice.show(node, "", "") is None
    assert notice.show(node, "high", "", "slow").as_dict()["text"] == ("high\nslow",)
    notice.show(node)
    notice.show(node)
    assert sent == [("high\nslow", "7", "c"), (" ", "7", "c")]
