"""Strategies on the host's own models: LTX-2 and MiniMax H3 at tiny size with random weights, and the pocket model."""

import copy
from types import SimpleNamespace

import pytest
import torch

from duet_av.pipelines.guidance.modifiers import APG, CFGZero, Rescale, Schedule, Window
from duet_av.pipelines.guidance.strategy import PLAIN, UCG, Branch, PerStreamCFG

STEPS = 3


@pytest.fixture(params=["ltx", "h3", "pocket"])
def host(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def sample(comfy):
    """Run a guider of the host or of this pack; returns the streams of the result."""

    def sample(guider, latent):
        sampling = guider.model_patcher.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", STEPS)
        noise = comfy.nested([torch.randn(z.shape, generator=torch.Generator().manual_seed(3)) for z in parts(latent)])
        noise = noise if getattr(latent, "is_nested", False) else noise.unbind()[0]
        euler = comfy.samplers.sampler_object("euler")
        return parts(guider.sample(noise, latent, euler, sigmas, seed=1, disable_pbar=True))

    return sample


def parts(latent):
    return list(latent.unbind()) if getattr(latent, "is_nested", False) else [latent]


def guider(run, host, strategy, model=None):
    return run("DuetGuider", model or host.model, host.positive, strategy, host.negative)[0]


def stock(comfy, host, scale, model=None):
    out = comfy.samplers.CFGGuider(model or host.model)
    out.set_conds(host.positive, host.negative)
    out.set_cfg(scale)
    return out


def gap(a, b):
    assert all(z.isfinite().all() for z in (*a, *b))
    return max((x - y).abs().max().item() / y.abs().max().item() for x, y in zip(a, b, strict=True))


def cross(**scales):
    return UCG("U3", **{"video": 1.0, "audio": 1.0, "a2v": 1.0, "v2a": 1.0, **scales}, masked=True)


def test_neutral_settings_equal_the_hosts_guider_bit_for_bit(comfy, run, host, sample):
    expected = sample(stock(comfy, host, 1.0), host.latent)
    for strategy in (PerStreamCFG(1.0, 1.0), cross(), Window(cross(a2v=3.0, v2a=3.0), 0.0, 0.0)):
        assert gap(sample(guider(run, host, strategy), host.latent), expected) == 0


def test_plain_cfg_equals_the_hosts_cfg(comfy, run, host, sample):
    expected = sample(stock(comfy, host, 3.0), host.latent)
    assert gap(sample(guider(run, host, PerStreamCFG(3.0, 3.0)), host.latent), expected) < 1e-5


def test_scales_per_stream_equal_the_hosts_for_ltx(run, ltx, sample):
    from comfy_extras import nodes_lt

    dual = nodes_lt.LTXVDualCFGGuider.execute(ltx.model, ltx.positive, ltx.negative, 3.0, 7.0).args[0]
    assert gap(sample(guider(run, ltx, PerStreamCFG(3.0, 7.0)), ltx.latent), sample(dual, ltx.latent)) < 1e-5


def test_cross_modal_guidance_equals_the_hosts_for_ltx(comfy, run, ltx, sample):
    from comfy_extras import nodes_lt

    theirs = nodes_lt.LTXVModalityGuidance.execute(ltx.model, 3.0, 0.0, 1.0).args[0]
    dual = nodes_lt.LTXVDualCFGGuider.execute(theirs, ltx.positive, ltx.negative, 3.0, 7.0).args[0]
    expected = sample(dual, ltx.latent)
    ours = guider(run, ltx, cross(video=3.0, audio=7.0, a2v=3.0, v2a=3.0))
    assert gap(sample(ours, ltx.latent), expected) < 1e-5
    patched = run("DuetCrossModalGuidance", ltx.model, 3.0, 3.0, 0.0, 1.0)[0]
    dual = nodes_lt.LTXVDualCFGGuider.execute(patched, ltx.positive, ltx.negative, 3.0, 7.0).args[0]
    assert gap(sample(dual, ltx.latent), expected) < 1e-5
    assert gap(expected, sample(stock(comfy, ltx, 3.0), ltx.latent)) > 1e-2


def test_the_hook_under_a_stock_guider_equals_the_strategy(comfy, run, host, sample):
    tokens = host.model.model.__class__.__name__ == "PocketBaseModel"
    ours = UCG("U3", 3.0, 3.0, 2.0, 4.0, masked=not tokens)
    patched, cost = run("DuetCrossModalGuidance", host.model, 2.0, 4.0, 0.0, 1.0)
    assert ("learnt context tokens" if tokens else "untrained null") in cost
    got = sample(stock(comfy, host, 3.0, patched), host.latent)
    assert gap(got, sample(guider(run, host, ours), host.latent)) < 1e-5


def test_the_hook_outside_its_window_or_at_one_changes_nothing(comfy, run, host, sample):
    expected = sample(stock(comfy, host, 3.0), host.latent)
    same, cost = run("DuetCrossModalGuidance", host.model, 1.0, 1.0, 0.0, 1.0)
    assert same is host.model
    assert cost.startswith("no extra pass: both scales are 1")
    late = run("DuetCrossModalGuidance", host.model, 3.0, 3.0, 1.0, 1.0)[0]
    assert gap(sample(stock(comfy, host, 3.0, late), host.latent), expected) == 0


def test_a_closed_direction_passes_nothing_and_the_open_one_does(run, host, sample):
    """Exact test: other audio must not change any value of the video. (Autograd cannot be used, because the host's layers work in
    place; a finite change without any effect is also stronger evidence than a zero gradient.)"""
    from duet_av.nodes.host.branches import evaluate
    from duet_av.nodes.host.guider import pack, unpack
    from duet_av.pipelines.core.streams import Streams

    tried, found = guider(run, host, PerStreamCFG(1.0, 1.0)), {}

    def probe(x, timestep, model_options=None, seed=None):
        conds = {True: tried.conds["positive"], False: tried.conds["negative"]}
        streams = unpack(x, tried.shapes)

        def answer(branch, z):
            return unpack(evaluate(tried.inner_model, [branch], conds, z, timestep, model_options)[0], tried.shapes)

        changed = [
            pack(s, tried.shapes)
            for s in (Streams(streams.video, streams.audio + 1), Streams(streams.video + 1, streams.audio))
        ]
        for branch in (PLAIN, Branch(a2v=False, masked=True), Branch(v2a=False, masked=True)):
            before, other_sound, other_picture = (answer(branch, z) for z in (x, *changed))
            found[branch] = (
                (other_sound.video - before.video).abs().max().item(),
                (other_picture.audio - before.audio).abs().max().item(),
            )
        return x

    tried.predict_noise = probe
    sample(tried, host.latent)
    (sees, hears), (deaf, hears_still), (sees_still, blind) = found.values()
    assert min(sees, hears, hears_still, sees_still) > 0
    assert (deaf, blind) == (0, 0)


STRATEGIES = [
    PerStreamCFG(1.0, 1.0),
    PerStreamCFG(0.0, 0.0),
    PerStreamCFG(1.0, 4.0),
    cross(a2v=2.0),
    cross(video=3.0, audio=4.0, v2a=3.0),
    Window(cross(video=3.0, a2v=2.0), 0.8, 0.2),
    Rescale(Schedule(cross(audio=3.0, a2v=2.0, v2a=2.0), 1.0, 0.2)),
    APG(cross(video=3.0, a2v=2.0)),
    CFGZero(PerStreamCFG(3.0, 3.0), 0.9),
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hooks_of_other_nodes_run_with_every_setting(run, host, sample, strategy):
    """A plain prediction that only a hook needs may share a batch, which changes the rounding."""
    seen = []
    patched = host.model.clone()

    def before(args):
        seen.append("before")
        assert args["conds_out"][0].shape == args["input"].shape
        return [args["conds_out"][0], args["conds_out"][1]]

    def after(args):
        seen.append("after")
        for name in ("denoised", "cond_denoised", "uncond_denoised"):
            assert args[name].shape == args["input"].shape
        assert args["cond"][0]["model_conds"]
        return args["denoised"]

    patched.set_model_sampler_pre_cfg_function(before)
    patched.set_model_sampler_post_cfg_function(after)
    got = sample(guider(run, host, strategy, patched), host.latent)
    assert seen == ["before", "after"] * STEPS
    assert gap(got, sample(guider(run, host, strategy), host.latent)) < 1e-6


def test_the_hosts_stg_and_modality_nodes_work_with_the_guider(run, ltx, sample):
    from comfy_extras import nodes_lt

    stacked = nodes_lt.LTXVSpatioTemporalGuidance.execute(ltx.model, 1.0, "1", 0.0, 1.0).args[0]
    stacked = nodes_lt.LTXVModalityGuidance.execute(stacked, 3.0, 0.0, 1.0).args[0]
    for strategy in (PerStreamCFG(1.0, 1.0), PerStreamCFG(3.0, 1.0)):
        with_hooks = sample(guider(run, ltx, strategy, stacked), ltx.latent)
        assert gap(with_hooks, sample(guider(run, ltx, strategy), ltx.latent)) > 1e-3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_hosts_options_are_not_modified(run, host, sample, strategy):
    model = host.model.clone()
    model.model_options["transformer_options"] = {"kept": {"deep": [1]}}
    before = copy.deepcopy(model.model_options)
    tried = guider(run, host, strategy, model)
    sample(tried, host.latent)
    assert model.model_options == before
    assert tried.model_options == before


def test_a_strategy_that_needs_trained_tokens_is_rejected_at_once(run, ltx, h3):
    for host in (ltx, h3):
        with pytest.raises(ValueError, match="learnt context tokens"):
            guider(run, host, Window(UCG("U2"), 0.5, 0.4))


def test_a_model_with_replaced_or_duplicated_guidance_is_rejected(run, host):
    replaced = host.model.clone()
    replaced.set_model_sampler_cfg_function(lambda args: args["cond"])
    with pytest.raises(ValueError, match="sampler_cfg_function"):
        guider(run, host, PerStreamCFG(), replaced)
    patched = run("DuetCrossModalGuidance", host.model, 2.0, 2.0, 0.0, 1.0)[0]
    with pytest.raises(ValueError, match="already has"):
        guider(run, host, PerStreamCFG(), patched)
    with pytest.raises(ValueError, match="already has"):
        run("DuetCrossModalGuidance", patched, 2.0, 2.0, 0.0, 1.0)


def test_a_missing_negative_is_rejected_only_if_it_is_required(run, host, sample):
    with pytest.raises(ValueError, match="negative prompt"):
        run("DuetGuider", host.model, host.positive, PerStreamCFG(1.0, 2.0))
    guider, cost = run("DuetGuider", host.model, host.positive, cross(a2v=2.0, v2a=2.0))
    assert cost.startswith("up to 2 passes per step; sync against: untrained null")
    assert all(z.isfinite().all() for z in sample(guider, host.latent))


def test_conditions_of_other_lengths_and_timestep_ranges(comfy, run, ltx, sample, words):
    """The first half of the schedule uses one prompt, the second half another, longer one."""
    early = words(4, 5, 96, frame_rate=24.0, start_percent=0.0, end_percent=0.5)
    late = words(5, 11, 96, frame_rate=24.0, start_percent=0.5, end_percent=1.0)
    host = SimpleNamespace(**{**vars(ltx), "positive": early + late})
    expected = sample(stock(comfy, host, 3.0), host.latent)
    assert gap(sample(guider(run, host, PerStreamCFG(3.0, 3.0)), host.latent), expected) < 1e-5
    guided = sample(guider(run, host, cross(video=3.0, audio=3.0, a2v=2.0, v2a=2.0)), host.latent)
    assert gap(guided, expected) > 1e-3


def test_a_batch_equals_its_samples(comfy, run, ltx, sample):
    two = comfy.nested([z.repeat(2, *[1] * (z.ndim - 1)) for z in ltx.latent.unbind()])
    strategy = cross(video=3.0, audio=3.0, a2v=2.0, v2a=2.0)
    both = sample(guider(run, ltx, strategy), two)
    assert [len(z) for z in both] == [2, 2]
    expected = stock(comfy, ltx, 3.0, run("DuetCrossModalGuidance", ltx.model, 2.0, 2.0, 0.0, 1.0)[0])
    assert gap(both, sample(expected, two)) < 1e-5


def test_a_latent_with_one_stream_is_sampled_as_by_the_host(comfy, run, ltx, sample):
    video = ltx.latent.unbind()[0]
    expected = sample(stock(comfy, ltx, 3.0), video)
    assert gap(sample(guider(run, ltx, PerStreamCFG(3.0, 9.0)), video), expected) < 1e-5


def test_an_attention_override_of_another_node_is_preserved_on_h3(run, h3, sample):
    used = []
    model = h3.model.clone()

    def override(attention, *args, **kwargs):
        used.append(args[0].shape[-2])
        return attention(*args, **kwargs)

    model.model_options["transformer_options"] = {"optimized_attention_override": override}
    strategy = cross(a2v=2.0, v2a=2.0)
    got = sample(guider(run, h3, strategy, model), h3.latent)
    assert gap(got, sample(guider(run, h3, strategy), h3.latent)) == 0
    assert len(set(used)) > 1


def test_switching_the_strategy_keeps_the_model_loaded(comfy, run, loaded, pocket, sample):
    import comfy.model_management as management

    sample(guider(run, pocket, PerStreamCFG()), pocket.latent)
    before = [id(m.model) for m in management.current_loaded_models]
    sample(guider(run, pocket, UCG("U2")), pocket.latent)
    assert [id(m.model) for m in management.current_loaded_models] == before
    assert guider(run, pocket, UCG("U3")).model_patcher is loaded[0]


def test_the_pocket_samplers_schedule_is_for_the_pocket_model(run, h3):
    with pytest.raises(ValueError, match="Connect sigmas"):
        run("DuetSampler", guider(run, h3, PerStreamCFG()), {"samples": h3.latent}, 0, 4)


def test_every_node_id_equals_its_class_name(comfy):
    assert all(node_id == node.__name__ for node_id, node in comfy.pack.items())
