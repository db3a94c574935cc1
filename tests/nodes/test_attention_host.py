"""JavisDiT's attention goes through the host's function, which other nodes and start options replace."""

import pytest
import torch


@pytest.mark.parametrize(
    ("model", "calls_a_layer"),
    [
        (
            "JavisDiT-v0.1-jav-240p4s/",
            10,
        ),  # four self-attentions, four text attentions, both directions between the streams
        ("JavisDiT-v1.0-jav/", 2),  # one self-attention and one text attention
    ],
)
def test_an_attention_override_sees_every_attention(run, javis_folder, model, calls_a_layer):
    network, clip = run("DuetLoadAV", model, "auto", "auto", "auto")[:2]
    latent = run("DuetEmptyLatent", network, 64, 48, 0.7, 0, 1)[0]
    positive = run("DuetEncodePrompt", clip, "a ball bounces and a bell rings", "", "noise")[0]
    calls = []

    def override(function, *args, **kwargs):
        calls.append(args[0].shape)
        return function(*args, **kwargs)

    def video(model):
        guider = run("DuetGuider", model, positive)[0]
        return run("DuetSampler", guider, latent, 5, 1)[0]["samples"].unbind()[0]

    changed = network.clone()
    changed.model_options["transformer_options"]["optimized_attention_override"] = override
    with torch.inference_mode():
        assert torch.equal(video(network), video(changed))
    config = network.model.diffusion_model.config
    layers = config.depth if calls_a_layer == 10 else config.num_layers
    assert len(calls) == calls_a_layer * layers
