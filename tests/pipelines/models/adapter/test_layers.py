"""Adapter layers: tokens that join the prompt's, the closed route, and LoRA."""

from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.core.conditions import A2V, V2A, Conditions
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.strategy import Branch
from duet_av.pipelines.models.adapter.condition import condition
from duet_av.pipelines.models.adapter.gates import OPEN
from duet_av.pipelines.models.addons.adapter import AdapterLayers, AdapterLayersConfig
from duet_av.pipelines.models.pocket.add_ons import load_layers
from duet_av.pipelines.models.pocket.denoiser import PocketDenoiser
from duet_av.pipelines.models.pocket.load import load_network, load_text_encoder
from duet_av.pipelines.models.pocket.lora import merge_lora
from duet_av.pipelines.training.adapter import (
    AdapterLayersStage,
)
from duet_av.pipelines.training.flow import LEAST_SIGMA
from duet_av.pipelines.training.loop import Settings, train


def noisy(like, seed=0):
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_adapter_tokens_join_the_text_and_close_the_direct_route(net, latents):
    network = load_network()
    text = load_text_encoder().embed(["a red ball bounces"])
    x = Streams(noisy(latents.video[:1]), noisy(latents.audio[:1], 1))
    base = PocketDenoiser(network, Streams(text, text), Streams(text, text))
    both, neither = Branch(), Branch(a2v=False, v2a=False)
    plain, alone = base([both, neither], x, 0.7)
    from_video = condition(net, Streams(latents.video[:1], None), V2A, kind=OPEN)
    layers = AdapterLayers(AdapterLayersConfig(V2A, 24, 4, ""), network.config).eval()
    layers.install(network)
    read = PocketDenoiser(
        network, Streams(text, text), Streams(text, text), conditions=Conditions(adapter=from_video.streams)
    )
    heard, hidden = read([both, neither], x, 0.7)
    assert torch.allclose(hidden.audio, alone.audio, atol=1e-5), (
        "adapter tokens are hidden in a branch whose routes are closed"
    )
    assert torch.allclose(hidden.video, alone.video, atol=1e-5)
    assert not torch.allclose(heard.audio, alone.audio, atol=1e-3)
    other = Streams(noisy(x.video, 5), x.audio)
    again = read([both], other, 0.7)[0]
    assert torch.allclose(again.audio, heard.audio, atol=1e-5), "the direct route is closed"
    assert not torch.allclose(plain.audio, base([both], other, 0.7)[0].audio, atol=1e-3)
    nothing = condition(net, Streams(latents.video[:1], None), V2A, strength=0.0)
    muted = PocketDenoiser(
        network, Streams(text, text), Streams(text, text), conditions=Conditions(adapter=nothing.streams)
    )
    assert torch.allclose(muted([both], x, 0.7)[0].audio, alone.audio, atol=1e-5)


def test_lora_trains_only_the_conditioning_layers_and_is_saved_in_the_hosts_layout(cache, net, tmp_path):
    network, encoder = load_network(), load_text_encoder()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = AdapterLayersConfig(V2A, 24, 4, "")
    path = tmp_path / "pocket-adapter-v2a.safetensors"
    stage = AdapterLayersStage(
        cache,
        net,
        AdapterLayers(config, network.config),
        network,
        encoder,
        path,
        base="b",
        judge=lambda *_: {"score": 1.0},
    )
    learning = {name for name, p in stage.objective.named_parameters() if p.requires_grad}
    assert all("parametrizations" in name or "layers.encoder" in name or "adapters" in name for name in learning)
    assert sum("blocks.audio" in name for name in learning) == 2 * 3 * 4
    assert not any("blocks.video" in name for name in learning)
    record = train(stage, Settings(2, 6, 1e-2, tmp_path / "run", compiled=False))
    assert record["scores"] == {"score": 1.0}
    loaded = load_layers("pocket-adapter-v2a", network.config, "b", path)
    lora = loaded.lora
    assert loaded.layers.config == config
    assert len(lora) == 2 * 3 * 4
    assert all(name.startswith("diffusion_model.blocks.audio.") for name in lora)
    merged = merge_lora(load_network(), lora)
    changed = {name for name, value in merged.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {
        f"blocks.audio.{i}.text_attention.{n}.weight" for i in range(4) for n in ("to_q", "to_kv", "to_out")
    }
    with pytest.raises(ValueError, match="trained on the base b"):
        load_layers("pocket-adapter-v2a", network.config, "other", path)
    with pytest.raises(ValueError, match="The direction is 'both'"):
        AdapterLayersConfig("both", 24, 4, "")


def test_the_teacher_is_the_base_with_the_other_stream_clean(cache, net, tmp_path):
    network, encoder = load_network(), load_text_encoder()
    layers = AdapterLayers(AdapterLayersConfig(A2V, 24, 4, ""), network.config)
    path = tmp_path / "pocket-adapter-a2v.safetensors"
    stage = AdapterLayersStage(cache, net, layers, network, encoder, path, base="b", judge=lambda *_: {"score": 1.0})
    objective, batch = stage.objective.eval(), stage.batch(torch.Generator().manual_seed(0), 6)
    flow = batch.flow
    assert flow.sigma.audio.abs().max() == 0, "the kept stream is clean"
    target = objective.teacher.clean(flow).video
    other = replace(flow, x0=Streams(flow.x0.video, torch.roll(flow.x0.audio, 1, 0)))
    assert not torch.allclose(objective.teacher.clean(other).video, target, atol=1e-2), (
        "the teacher reads the kept audio"
    )
    own = flow.of("video")
    assert own.x0.audio is own.tokens.audio is None
    predicted = objective.flow.clean(own, {A2V: batch.condition}).video
    expected = (predicted - target).square().mean((1, 3, 4)) / flow.sigma.video.clamp_min(LEAST_SIGMA).square()
    assert torch.allclose(objective(batch)["loss"], expected.mean(), rtol=1e-4)
    objective(batch)["loss"].backward()
    assert all(p.grad is None for p in objective.teacher.parameters())
    assert sum(p.grad.abs().sum() for n, p in objective.named_parameters() if n.endswith("weight.0.up")) > 0
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            if name.endswith("weight.0.up"):
                parameter.fill_(1.0)
        assert not torch.allclose(objective.flow.clean(own, {A2V: batch.condition}).video, predicted, atol=1e-2)
        assert torch.equal(objective.teacher.clean(flow).video, target), "the teacher has no LoRA"
