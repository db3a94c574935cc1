"""The pocket prior inside a real ComfyUI: loading, sampling, its effect on the network, and combinations with plans and LoRAs."""

from types import SimpleNamespace

import pytest
import torch

from duet_av.pipelines.core.conditions import batch_prior
from duet_av.pipelines.guidance.strategy import PerStreamCFG
from duet_av.pipelines.models.pocket.add_ons import with_add_on
from duet_av.pipelines.models.pocket.generate import Request, sample
from duet_av.pipelines.models.pocket.load import PocketModel
from duet_av.pipelines.models.prior.load import load_prior_net

PROMPT = "a small red bell rings slowly on the left at night"
STRATEGY = PerStreamCFG(2.0, 2.0)


@pytest.fixture
def parts(run, loaded):
    model, net = run("DuetLoadPrior", loaded[0], "auto", "auto")
    positive, negative = run("DuetEncodePrompt", loaded[1], PROMPT, "", "")[:2]
    latent = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 0, 1)[0]
    return SimpleNamespace(base=loaded[0], model=model, net=net, positive=positive, negative=negative, latent=latent)


def sampled(run, parts, prior, *, plan=None, model=None, steps=6):
    positive, negative = run("DuetApplyConditions", parts.positive, parts.negative, "as trained", plan, prior)
    guider = run("DuetGuider", model or parts.model, positive, STRATEGY, negative)[0]
    return run("DuetSampler", guider, parts.latent, 5, steps)[0]["samples"].unbind()


def difference(a, b):
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True))


def test_without_a_prior_the_output_is_unchanged(run, parts):
    assert difference(sampled(run, parts, None), sampled(run, parts, None, model=parts.base)) == 0


def test_two_priors_give_two_clips_and_one_prior_gives_one(run, parts):
    priors = [run("DuetPriorSampler", parts.net, PROMPT, seed, 1.0)[0] for seed in (1, 2, 1)]
    clips = [sampled(run, parts, prior) for prior in priors]
    assert difference(clips[0], clips[1]) > 1e-2
    assert difference(clips[0], clips[2]) == 0


def test_the_host_and_the_command_line_sample_the_same_prior(run, parts):
    prior = run("DuetPriorSampler", parts.net, PROMPT, 3, 0.5)[0]
    model = PocketModel.load()
    own = batch_prior([load_prior_net().sample([PROMPT], seed=3, temperature=0.5)])
    request = Request([PROMPT], seed=5, steps=6, strategy=STRATEGY, prior=own)
    assert (
        difference(sampled(run, parts, prior), sample(with_add_on(model.network, "prior"), model.text, request)) < 1e-4
    )


def test_the_picture_shows_places_against_time(run, parts):
    pictures = [run("DuetPriorSampler", parts.net, PROMPT, seed, 1.0)[1] for seed in (1, 2)]
    assert pictures[0].shape[-1] == 3
    assert not torch.equal(*pictures)


def test_plans_and_loras_are_preserved_with_priors(run, parts):
    import comfy.sd

    name = "diffusion_model.blocks.video.0.feed_forward.0"
    lora = {f"{name}.lora_A.weight": torch.randn(4, 192), f"{name}.lora_B.weight": torch.randn(768, 4)}
    changed = comfy.sd.load_lora_for_models(parts.base, None, lora, 1.0, 0)[0]
    planning, planner = run("DuetLoadPlanner", changed)
    both = run("DuetLoadPrior", planning, "auto", "auto")[0]
    other = run("DuetLoadPlanner", run("DuetLoadPrior", changed, "auto", "auto")[0])[0]
    plan = run("DuetPlanner", planner, PROMPT, "", 3, 1.0, "timeline")[0]
    prior = run("DuetPriorSampler", parts.net, PROMPT, 1, 1.0)[0]
    assert difference(sampled(run, parts, None, model=both), sampled(run, parts, None, model=changed)) == 0
    clips = [sampled(run, parts, prior, plan=plan, model=m) for m in (both, other)]
    assert difference(*clips) == 0
    assert difference(clips[0], sampled(run, parts, None, plan=plan, model=both)) > 1e-3


def test_a_prior_for_a_model_without_prior_layers_is_rejected(run, parts):
    prior = run("DuetPriorSampler", parts.net, PROMPT, 1, 1.0)[0]
    with pytest.raises(ValueError, match="MODEL of 'Duet Load Prior'"):
        sampled(run, parts, prior, model=parts.base)


def test_the_timeline_of_a_clip_is_plotted(run, loaded):
    latent = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 0, 1)[0]
    images, audio, fps = run("DuetDecode", latent, loaded[2], loaded[3], False)
    picture, score = run("DuetTimelinePlot", images[0], audio[0], fps, "a title", "pocket world")
    assert picture.shape[-1] == 3
    assert score.startswith("synchrony F1")
    assert run("DuetTimelinePlot", images[0], audio[0], 24.0, "", "none")[1] == ""
