"""``duet data`` and ``duet train lora`` for JavisDiT v0.1."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("peft")
sys.path.insert(0, str(Path(__file__).parents[2] / "nodes"))

from javisdit_files import PRIOR, TEXT, V01, write_folder01
from ltx2_release import one_clip

from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.javisdit.folder01 import JavisFolder01
from duet_av.pipelines.training.lora import LoRAObjective
from duet_av.pipelines.training.own_models import load_own
from duet_av.pipelines.training.shards import ClipShards

CPU = (torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_folder01(tmp_path_factory.mktemp("javisdit"))


@pytest.fixture(scope="module")
def shards(release, tmp_path_factory):
    clips, out = (tmp_path_factory.mktemp(name) for name in ("clips", "shards"))
    data = [
        "data",
        one_clip(clips, "A square"),
        "--model",
        "javisdit-v0.1",
        release,
        "-o",
        out,
        "--size",
        "72x32",
        "--seconds",
        0.7,
    ]
    assert cli.main([str(a) for a in data]) == 0
    return out


@pytest.fixture
def sample(shards):
    clips = ClipShards.read(shards)
    return clips, clips.load(clips.samples)


def test_clips_and_the_states_of_both_text_encoders_are_stored(sample):
    clips, (latents, text, _) = sample
    assert clips.config["fps"] == 24
    assert [tuple(z.shape[1:]) for z in latents.both()] == [
        (4, 5, 4, 9),
        (8, 24, 16),
    ]  # 17 frames; 70 mel frames, padded to 96
    assert {name: tuple(z.shape[1:]) for name, z in text.items()} == {
        "video": (300, TEXT),
        "mask": (300,),
        "tower": (77, PRIOR.text_width),
    }
    assert text["mask"][0].sum() == len("a square aesthetic score: 6. 5"), "in lower case, with the score, cleaned"


def test_a_lora_is_stored_for_the_host(release, shards, tmp_path):
    options = ["--model", "javisdit-v0.1", release, "--data", shards, "--run", tmp_path, "--rank", 2, "--steps", 2]
    assert cli.main([str(a) for a in ("train", "lora", *options)]) == 0
    tensors = load_file(tmp_path / "lora" / "javisdit-v0.1-lora.safetensors")
    assert len(tensors) == 3 * V01.depth * (4 * 5 + 2 * 2 * 3 + 6)  # STDiT blocks, prior blocks, cross-attention
    assert tensors["diffusion_model.va_cross_blocks.0.cross_attn.out_m1_proj.lora_A.weight"].shape == (2, 16)


def test_the_prior_is_drawn_from_the_captions_gaussian(release, sample):
    clips, (_, text, _) = sample
    model = load_own("javisdit-v0.1", release, *CPU)
    draws = [
        model.conditions(text, clips.config, torch.Generator().manual_seed(seed)).prior.spatial for seed in range(200)
    ]
    mean, log_variance = JavisFolder01(release).prior()[0].moments_of(text["tower"])
    deviation = (0.5 * log_variance).exp()[:, : PRIOR.spatial_token_num]
    found = torch.stack(draws)
    error = (found.mean(0) - mean[:, : PRIOR.spatial_token_num]) / deviation
    assert error.abs().max() < 5 / 200**0.5
    assert (found.std(0) / deviation).mean().item() == pytest.approx(1, abs=0.05)


def test_a_clean_frame_is_read_at_noise_level_zero(release, sample):
    clips, (latents, text, _) = sample
    model = load_own("javisdit-v0.1", release, *CPU)
    read = model.conditions(text, clips.config, torch.Generator().manual_seed(0))
    video = torch.full((len(clips.samples), 5), 0.5)
    video[:, 0] = 0
    velocity = model.velocity(latents, Streams(video, torch.full((len(video), 1), 0.5)), read)
    noisy = Streams(video > 0, torch.ones(len(video), 24, dtype=torch.bool))
    direct = model.network(
        latents,
        torch.full((len(video),), 500.0),
        read.text.video,
        read.mask.bool(),
        read.prior,
        size=(32.0, 72.0),
        fps=24.0,
        noisy=noisy,
    )
    for ours, other in zip(velocity.both(), direct.both(), strict=True):
        torch.testing.assert_close(ours, -other)


def test_gradient_checkpointing_leaves_the_gradients_unchanged(release, sample):
    (clips, drawn), model = sample, load_own("javisdit-v0.1", release, *CPU)
    objective, found = LoRAObjective(model), []
    batch = objective.batch(clips, drawn, torch.Generator().manual_seed(0))
    learnt = model.network.spatial_blocks[0].attn.qkv.weight.requires_grad_(True)
    for checkpointed in (True, False):
        model.network.checkpointed, learnt.grad = checkpointed, None
        objective(batch)["loss"].backward()
        found.append(learnt.grad.clone())
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-4)


def test_other_rates_and_sizes_and_missing_parts_are_refused(release, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"")
    for option, value, message in (("--fps", 16, "was trained at 24 fps"), ("--size", "60x32", "multiples of 8")):
        data = ["data", tmp_path, "--model", "javisdit-v0.1", release, "-o", tmp_path / "out", option, value]
        assert cli.main([str(a) for a in data]) == 2
        assert message in capsys.readouterr().err
    data = ["data", tmp_path, "--model", "javisdit-v1.0", release, "-o", tmp_path / "out", "--changed", 1]
    assert cli.main([str(a) for a in data]) == 2
    assert "for javisdit-v0.1 only" in capsys.readouterr().err
