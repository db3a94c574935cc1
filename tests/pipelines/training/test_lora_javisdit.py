"""``duet data`` and ``duet train lora`` for JavisDiT v1.0."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("diffusers")
pytest.importorskip("peft")
sys.path.insert(0, str(Path(__file__).parents[2] / "nodes"))

from javisdit_files import V10, write_folder10
from ltx2_release import one_clip

from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.models.javisdit.folder import JavisFolder10
from duet_av.pipelines.training.lora import LoRAObjective
from duet_av.pipelines.training.own_models import OwnJavisDiT10
from duet_av.pipelines.training.shards import ClipShards


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_folder10(tmp_path_factory.mktemp("javisdit"))


@pytest.fixture(scope="module")
def shards(release, tmp_path_factory):
    clips, out = (tmp_path_factory.mktemp(name) for name in ("clips", "shards"))
    data = ["data", one_clip(clips), "--model", "javisdit-v1.0", release, "-o", out, "--size", "64x32", "--seconds", 1]
    assert cli.main([str(a) for a in data]) == 0
    return out


@pytest.fixture
def model(release):
    return OwnJavisDiT10(JavisFolder10(release).network(torch.device("cpu"), torch.float32))


def test_clips_are_encoded_at_the_models_own_rate_and_a_lora_is_stored(release, shards, tmp_path):
    clips = ClipShards.read(shards)
    assert clips.config["fps"] == 16
    assert [(s.video, s.audio) for s in clips.samples] == [((16, 5, 4, 8), (8, 32, 16))]
    options = ["--model", "javisdit-v1.0", release, "--data", shards, "--run", tmp_path, "--rank", 2, "--steps", 2]
    assert cli.main([str(a) for a in ("train", "lora", *options)]) == 0
    tensors = load_file(tmp_path / "lora" / "javisdit-v1.0-lora.safetensors")
    assert len(tensors) == V10.num_layers * 12 * 3
    assert tensors["diffusion_model.blocks.0.audio_ffn.2.lora_B.weight"].shape == (V10.dim, 2)


def test_noise_levels_are_shifted_by_the_size_of_the_clip(model, shards):
    clips = ClipShards.read(shards)
    latents, *_ = clips.load(clips.samples)
    found = model.levels(20_000, latents.video, clips.config, torch.Generator().manual_seed(0))
    ratio = 5 * (32 * 64 / 512**2) ** 0.5 * (17 // 17 * 5) ** 0.5  # training scale x space x time
    assert found.median().item() == pytest.approx(ratio / (1 + ratio), abs=0.01)


def test_gradient_checkpointing_leaves_the_gradients_unchanged(model, shards):
    clips, objective, found = ClipShards.read(shards), LoRAObjective(model), []
    batch = objective.batch(clips, clips.load(clips.samples), torch.Generator().manual_seed(0))
    learnt = model.network.blocks[0].self_attn.q.weight.requires_grad_(True)
    for checkpointed in (True, False):
        model.network.checkpointed, learnt.grad = checkpointed, None
        objective(batch)["loss"].backward()
        found.append(learnt.grad.clone())
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-4)


def test_other_rates_and_sizes_are_refused(release, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"")
    for option, value, message in (("--fps", 24, "was trained at 16 fps"), ("--size", "60x32", "multiples of 16")):
        data = ["data", tmp_path, "--model", "javisdit-v1.0", release, "-o", tmp_path / "out", option, value]
        assert cli.main([str(a) for a in data]) == 2
        assert message in capsys.readouterr().err
