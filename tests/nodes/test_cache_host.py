"""The host's cache nodes on every model: they recognise a condition by its uuid, and each branch of a strategy has its own."""

import pytest
import torch

from duet_av.pipelines.guidance.strategy import UCG

STEPS = 12


@pytest.mark.parametrize("family", ["ltx", "h3", "pocket"])
@pytest.mark.parametrize("cache", ["EasyCacheNode", "LazyCacheNode"])
def test_no_two_branches_return_the_same_prediction(comfy, run, request, family, cache, monkeypatch):
    import comfy_extras.nodes_easycache as nodes_easycache

    import duet_av.nodes.host.guider as module

    host, answers, calls = request.getfixturevalue(family), [], []
    evaluate = module.evaluate
    monkeypatch.setattr(module, "evaluate", lambda *args: answers.append(out := evaluate(*args)) or out)
    model = getattr(nodes_easycache, cache).execute(host.model, 5.0, 0.1, 0.95, False).args[0]
    network = model.model.diffusion_model
    monkeypatch.setattr(network, "_forward", lambda *a, f=network._forward, **k: calls.append(1) or f(*a, **k))
    strategy = UCG("U3", 3.0, 3.0, 2.0, 2.0, masked=family != "pocket")
    guider = run("DuetGuider", model, host.positive, strategy, host.negative)[0]
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    generator = torch.Generator().manual_seed(3)
    noise = comfy.nested([torch.randn(z.shape, generator=generator) for z in host.latent.unbind()])
    guider.sample(noise, host.latent, comfy.samplers.sampler_object("euler"), sigmas, seed=1, disable_pbar=True)
    passes = STEPS * (1 if family == "pocket" else len(answers[0]))  # the pocket model's branches share a call
    assert 0 < len(calls) < passes, "no step was answered from the cache"
    if (
        cache == "EasyCacheNode"
    ):  # LazyCache answers with the guided prediction, so that a step has all its branches or none
        assert len(answers) == STEPS
    for outputs in answers:
        for i, a in enumerate(outputs):
            assert all(not torch.equal(a, b) for b in outputs[i + 1 :])
