"""The memory estimate of LoRA training agrees with what is measured, and what does not fit is refused before weights are read."""

import weakref
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from ltx2_release import TRANSFORMER

from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.javisdit.prior_heads import HeadsConfig, PriorHeads
from duet_av.pipelines.models.javisdit.v01 import JavisDiT01
from duet_av.pipelines.models.javisdit.v01_audio import JavisDiT01Audio
from duet_av.pipelines.models.javisdit.v01_blocks import V01Config
from duet_av.pipelines.models.javisdit.v10 import JavisDiT10, V10Config
from duet_av.pipelines.models.lora import add_lora
from duet_av.pipelines.models.ltx2.folder import LTX2Folder
from duet_av.pipelines.models.ltx2.network import LTX2Network
from duet_av.pipelines.models.ltx2.sizes import LTX2Sizes
from duet_av.pipelines.models.prior.estimator import PriorConfig, PriorEstimator
from duet_av.pipelines.training import memory
from duet_av.pipelines.training.clip_stage import learn
from duet_av.pipelines.training.context_tokens import ContextLTX2, ContextObjective
from duet_av.pipelines.training.javisdit import AudioObjective, JointObjective, PriorBatch, PriorObjective
from duet_av.pipelines.training.javisdit_start import AUDIO, JOINT
from duet_av.pipelines.training.lora import LoRAObjective
from duet_av.pipelines.training.memory import (
    Load,
    context_estimate,
    estimate,
    javis01_activations,
    prior_estimate,
    timed_estimate,
)
from duet_av.pipelines.training.own_models import OwnJavisDiT01, OwnJavisDiT10, OwnLTX2
from duet_av.pipelines.training.shards import ClipShards, Drawn
from duet_av.pipelines.training.timed_lora import TimedConditions, TimedLoRAObjective, TimedLTX2

WIDTH = {"attention_head_dim": 80, "cross_attention_dim": 160}
# Changes of the configuration; latent frames, rows, columns; audio tokens; text tokens; samples.
CASES = {
    "two blocks": ({}, (3, 8, 8), 40, 32, 1),
    "wide video, five blocks": ({**WIDTH, "num_layers": 5}, (5, 6, 6), 60, 40, 1),
    "much audio, two samples": ({}, (2, 6, 4), 150, 16, 2),
}


class Peak(TorchDispatchMode):
    """The largest number of bytes that tensors created inside it held at the same time."""

    def __init__(self, *known):
        super().__init__()
        self.known, self.sizes, self.live, self.most = {z.untyped_storage()._cdata for z in known}, {}, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage):
        key = storage._cdata
        if key not in self.sizes and key not in self.known:
            self.sizes[key] = storage.nbytes()
            self.live += self.sizes[key]
            self.most = max(self.most, self.live)
            weakref.finalize(storage, self._freed, key)

    def _freed(self, key):
        self.live -= self.sizes.pop(key)


def measured(objective, sample, dtype, inputs=None):
    """Bytes at the peak of a step beside the parameters and the sample. It is in the last block, before most gradients exist. ``inputs``:
    the tensors of the sample, if it is none of a LoRA."""
    if inputs is None:
        inputs = [z for part in (sample.x0, sample.noise, sample.sigma, sample.read.text) for z in part.both()]
    with Peak(*objective.parameters(), *inputs) as peak:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = objective(sample)["loss"]
        loss.backward()
    return peak.most


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_the_estimate_is_within_15_percent_of_the_measured_peak(case, dtype, tmp_path):
    changes, size, audio, words, batch = CASES[case]
    sizes = LTX2Sizes.of_diffusers({**TRANSFORMER, **changes})
    model = OwnLTX2(LTX2Network(sizes).requires_grad_(False).to(dtype))
    network, objective = model.network, LoRAObjective(model)
    add_lora(network, model.targets, rank=4)
    text = {name: torch.randn(batch, words, 16) for name in ("video", "audio")} | {"mask": torch.ones(batch, words)}
    latents = Streams(torch.randn(batch, 128, *size), torch.randn(batch, 128, audio))
    clips = ClipShards(tmp_path, {"fps": 24.0}, [], {})
    sample = objective.batch(clips, Drawn(latents, text, []), torch.Generator().manual_seed(0))
    found = estimate(sizes, Load(batch, size, (audio,), words), rank=4, dtype=dtype)
    assert found.learnt_parameters == sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert found.parameters == sum(p.numel() for p in network.parameters()) - found.learnt_parameters
    assert found.activations == pytest.approx(measured(objective, sample, dtype), rel=0.15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stage", ["context-tokens", "timed-lora"])
def test_the_estimates_of_the_other_stages_of_ltx2_are_within_15_percent(stage, dtype, tmp_path):
    size, audio, words, texts = (3, 8, 8), 40, 32, 3
    sizes, load = LTX2Sizes.of_diffusers(TRANSFORMER), Load(1, size, (audio,), words)
    network = LTX2Network(sizes).requires_grad_(False).to(dtype)
    clips = ClipShards(tmp_path, {"fps": 24.0}, [], {})
    count = words if stage == "context-tokens" else words * texts
    text = {name: torch.randn(1, count, 16) for name in ("video", "audio")} | {"mask": torch.ones(1, count)}
    drawn = Drawn(Streams(torch.randn(1, 128, *size), torch.randn(1, 128, audio)), text, [])
    if stage == "context-tokens":
        objective = ContextObjective(ContextLTX2(network))
        sample = objective.batch(clips, drawn, torch.Generator().manual_seed(0))
        found = context_estimate(sizes, load, dtype=dtype)
    else:
        objective = TimedLoRAObjective(TimedLTX2(network))
        add_lora(objective.network, TimedLTX2.targets, rank=4)
        sample = LoRAObjective.batch(objective, clips, drawn, torch.Generator().manual_seed(0))
        shares = Streams(torch.zeros(1, size[0], count), torch.zeros(1, audio, count))
        sample = replace(sample, read=TimedConditions(**vars(sample.read), shares=shares))
        found = timed_estimate(sizes, load, texts=texts, rank=4, dtype=dtype)
    assert found.learnt_parameters == sum(p.numel() for p in objective.parameters() if p.requires_grad)
    assert found.activations == pytest.approx(measured(objective, sample, dtype), rel=0.15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimate_for_javisdit_is_within_15_percent_of_the_measured_peak(dtype, tmp_path):
    size, audio, words = (5, 8, 8), (48, 16), 32
    config = V10Config(dim=128, ffn_dim=384, num_layers=3, num_heads=1, freq_dim=32, text_dim=16, text_len=words)
    network = JavisDiT10(config).requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(std=0.05)
    model = OwnJavisDiT10(network.to(dtype))
    objective = LoRAObjective(model)
    add_lora(network, model.targets, rank=4)
    text = {"video": torch.randn(1, words, 16), "mask": torch.ones(1, words)}
    latents = Streams(torch.randn(1, 16, *size), torch.randn(1, 8, *audio))
    clips = ClipShards(tmp_path, {"frames": 17}, [], {})
    sample = objective.batch(clips, Drawn(latents, text, []), torch.Generator().manual_seed(0))
    found = estimate(config, Load(1, size, audio, words), rank=4, dtype=dtype)
    assert found.activations == pytest.approx(measured(objective, sample, dtype), rel=0.15)


def drop_gradient(parameter):
    """Gradients are counted with what learns, not with the activations."""
    parameter.grad = None


@pytest.mark.parametrize("stage", ["lora", "javis-audio", "javis-joint"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimate_for_the_stages_of_v01_is_within_15_percent_of_the_measured_peak(stage, dtype, tmp_path):
    size, audio, words = (5, 14, 14), (80, 16), 30
    config = V01Config(
        96, 3, 12, caption_channels=32, model_max_length=words, spatial_prior_len=8, temporal_prior_len=8
    )
    latents = Streams(torch.randn(1, 4, *size), torch.randn(1, 8, *audio))
    text = {"video": torch.randn(1, words, 32), "mask": torch.ones(1, words), "tower": torch.randn(1, 77, 64)}
    tower = {"text_width": 64, "text_heads": 1, "text_layers": 0, "vocabulary": 4}
    estimator = PriorEstimator(PriorConfig(8, 8, hidden_size=32, heads=1, layers=1, **tower))
    network = (JavisDiT01Audio if stage == "javis-audio" else JavisDiT01)(config).requires_grad_(False)
    for module in (network, estimator):
        for value in module.parameters():
            value.data.normal_(std=0.05)
    network = network.to(dtype)
    if stage == "lora":
        model = OwnJavisDiT01(network, estimator)
        add_lora(network, model.targets, rank=4)
        objective = LoRAObjective(model)
    else:
        learn(network, AUDIO if stage == "javis-audio" else JOINT)
        own = network if stage == "javis-audio" else OwnJavisDiT01(network, estimator)
        objective = (AudioObjective if stage == "javis-audio" else JointObjective)(own)
    for parameter in objective.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(drop_gradient)
    clips = ClipShards(tmp_path, {"frames": 17, "height": 112, "width": 112, "fps": 24.0}, [], {})
    sample = objective.batch(clips, Drawn(latents, text, []), torch.Generator().manual_seed(0))
    given = [sample.x0, sample.noise, sample.text] if stage == "javis-audio" else None
    found = javis01_activations(stage, config, Load(1, size, audio, words), dtype)
    assert found == pytest.approx(measured(objective, sample, dtype, given), rel=0.15)


def test_the_estimate_for_the_prior_of_v01_is_within_15_percent_of_the_measured_peak():
    size, audio, counts = (5, 14, 16), (24, 16), (16, 16)
    tower = {"text_width": 64, "text_heads": 1, "text_layers": 0, "vocabulary": 4}
    estimator = PriorEstimator(PriorConfig(*counts, 32, hidden_size=64, heads=4, layers=2, **tower))
    objective = PriorObjective(estimator, PriorHeads(HeadsConfig(*counts, 32, 4)))
    for parameter in objective.parameters():
        parameter.data.normal_(std=0.05)
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(drop_gradient)
    latents = Streams(torch.randn(1, 4, *size), torch.randn(1, 8, *audio))
    changed = {kind: latents.map(lambda z: z[:, None]) for kind in ("spatial", "temporal")}
    batch = PriorBatch(latents, changed, torch.randn(1, 77, 64), torch.randn(1, 32, 32), (112.0, 128.0))
    found = prior_estimate(objective.estimator.state_dict(), Load(1, size, audio, 9), changed=1)
    given = [*latents.both(), batch.tower, batch.noise]
    assert found.activations == pytest.approx(measured(objective, batch, torch.float32, given), rel=0.15)


def test_estimate_prints_the_parts_and_too_little_memory_is_refused(
    ltx2_release, ltx2_shards, tmp_path, monkeypatch, capsys
):
    options = ["--model", "ltx2", str(ltx2_release), "--data", str(ltx2_shards), "--run", str(tmp_path)]
    assert cli.main(["train", "lora", *options, "--estimate"]) == 0
    printed = capsys.readouterr().out
    assert "GiB  base, 0.00 billion parameters, frozen" in printed
    assert "GiB  total" in printed
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    monkeypatch.setattr(LTX2Folder, "network", lambda *_: pytest.fail("weights were read"))
    assert cli.main(["train", "lora", *options]) == 2
    assert "Less is needed with a smaller --batch" in capsys.readouterr().err
