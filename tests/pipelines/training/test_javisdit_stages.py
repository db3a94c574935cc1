"""The three official stages of JavisDiT v0.1 on tiny random weights in the official layout: what learns, what is frozen, and what loads."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("peft")
sys.path.insert(0, str(Path(__file__).parents[2] / "nodes"))

from javisdit_files import HEADS, V01, weights, write, write_folder01
from ltx2_release import one_clip

from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.core.conditions import PriorTokens
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.catalogue import identify
from duet_av.pipelines.models.javisdit.files import read_checkpoint
from duet_av.pipelines.models.javisdit.folder01 import JavisFolder01
from duet_av.pipelines.models.javisdit.load_prior import TRAINING_ONLY, load_training_prior
from duet_av.pipelines.models.javisdit.v01_audio import JavisDiT01Audio
from duet_av.pipelines.training.javisdit import dropped, frame_loss
from duet_av.pipelines.training.javisdit_masks import SHARES, draw_masks, noisy_frames
from duet_av.pipelines.training.javisdit_start import AUDIO, JOINT, joint_network
from duet_av.pipelines.training.shards import ClipShards

CPU = (torch.device("cpu"), torch.float32)
VIDEO_ONLY = ("spatial_blocks.", "temporal_blocks.")


def duet(*arguments):
    return cli.main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_folder01(tmp_path_factory.mktemp("javisdit"))


@pytest.fixture(scope="module")
def shards(release, tmp_path_factory):
    clips, out = (tmp_path_factory.mktemp(name) for name in ("clips", "shards"))
    data = [
        "data",
        one_clip(clips),
        "--model",
        "javisdit-v0.1",
        release,
        "-o",
        out,
        "--size",
        "64x32",
        "--seconds",
        0.7,
    ]
    assert duet(*data, "--changed", 1) == 0
    return out


def trained(stage, release, shards, run, *more):
    """The file that three steps of a stage write, and the tensors of its metadata."""
    options = ["--model", "javisdit-v0.1", release, "--data", shards, "--run", run, "--steps", 3, "--batch", 2]
    assert duet("train", stage, *options, *more) == 0
    return run / stage / f"javisdit-v0.1-{stage}.safetensors"


def changed(before, after):
    """The tensors that differ; what is frozen may be stored in the precision in which it was used."""
    assert set(before) == set(after)
    return {name for name, value in after.items() if not torch.equal(value, before[name].to(value.dtype))}


@pytest.fixture
def parts(release, tmp_path):
    """A folder like ``release`` whose transformer and stdit can be other files."""
    for part in release.iterdir():
        if part.name != "transformer":
            (tmp_path / part.name).symlink_to(part)
    whole = read_checkpoint(release / "transformer")

    def place(name, tensors):
        write(tmp_path / name, tensors)
        return tmp_path

    return whole, place


def stdit_of(whole):
    """The layout of Open-Sora's STDiT v3: v0.1's video branch."""
    begins = (
        *VIDEO_ONLY,
        "x_embedder.",
        "t_embedder.",
        "fps_embedder.",
        "t_block.",
        "y_embedder.",
        "final_layer.",
        "rope.",
    )
    return {name: value for name, value in whole.items() if name.startswith(begins)}


def test_audio_stage_changes_the_audio_branch_alone_and_the_result_is_a_whole_network(release, shards, tmp_path):
    path = trained("javis-audio", release, shards, tmp_path)
    before, after = read_checkpoint(release / "transformer"), read_checkpoint(path)
    found = changed(before, after)
    learnable = {n for n in before if n.startswith(AUDIO) and not n.endswith("y_embedding")}
    assert found == learnable
    assert identify(after) == "JavisDiT v0.1"
    assert not load_file(path).keys() - before.keys()


def test_audio_stage_on_stdit_then_joint_stage_as_in_the_official_training(parts, shards, tmp_path):
    whole, place = parts
    folder = place("transformer", stdit_of(whole))
    path = trained("javis-audio", folder, shards, tmp_path / "run", "--lr", 1e-5)
    audio = read_checkpoint(path)
    assert identify(audio) == "JavisDiT v0.1's text-to-audio stage"
    assert not any(name.startswith(VIDEO_ONLY) for name in audio)
    copied = "audio_temporal_blocks.0.mlp.fc1.weight"
    torch.testing.assert_close(audio[copied], whole[copied.removeprefix("audio_")], atol=1e-3, rtol=0)

    (folder / "transformer" / "model.safetensors").unlink()
    save_file(audio, folder / "transformer" / "model.safetensors")
    assert duet("train", "javis-joint", "--model", "javisdit-v0.1", folder, "--data", shards, "--run", tmp_path) == 2
    place("stdit", stdit_of(whole))
    network = joint_network(JavisFolder01(folder), *CPU, seed=0)
    assert not network.va_cross_blocks[0].gamma_m1.any(), "new layers change nothing at the start"
    assert torch.equal(network.spatial_blocks[1].attn.qkv.weight, whole["spatial_blocks.1.attn.qkv.weight"])
    result = read_checkpoint(trained("javis-joint", folder, shards, tmp_path / "run"))
    assert identify(result) == "JavisDiT v0.1"
    for name, value in audio.items():
        assert torch.equal(result[name], value.to(result[name].dtype)), f"{name} is frozen"
    (folder / "transformer" / "model.safetensors").unlink()
    save_file(result, folder / "transformer" / "model.safetensors")
    JavisFolder01(folder).network(*CPU)


def test_joint_stage_trains_prior_attention_and_cross_attention_alone(release, shards, tmp_path):
    path = trained("javis-joint", release, shards, tmp_path)
    before, after = read_checkpoint(release / "transformer"), read_checkpoint(path)
    assert changed(before, after) == {n for n in before if n.startswith(JOINT) and not n.endswith("y_embedding")}


def test_prior_stage_trains_estimator_and_heads_and_freezes_the_tower(release, shards, tmp_path):
    path = trained("javis-prior", release, shards, tmp_path, "--lr", 1e-3)
    before, after = read_checkpoint(release / "prior"), read_checkpoint(path)
    frozen = {name for name in before if name.startswith("text_encoder.")}
    assert changed(before, after) == before.keys() - frozen
    estimator, heads = load_training_prior(path)
    assert heads.config == HEADS
    assert estimator.moments(torch.zeros(1, 77, dtype=torch.long))[0].isfinite().all()


def test_a_prior_without_heads_gets_new_ones(release, shards, parts, tmp_path):
    whole, place = parts
    folder = place("transformer", whole)
    (folder / "prior").unlink()
    prior = read_checkpoint(release / "prior")
    write(folder / "prior", {name: z for name, z in prior.items() if not name.startswith(TRAINING_ONLY)})
    after = read_checkpoint(trained("javis-prior", folder, shards, tmp_path / "run"))
    assert {n for n in after if n.startswith(TRAINING_ONLY)} == {n for n in prior if n.startswith(TRAINING_ONLY)}


def test_the_audio_branch_computes_what_the_whole_network_does_without_the_other_layers(release):
    network = JavisFolder01(release).network(*CPU)
    for block in network.va_cross_blocks:
        block.gamma_m1.zero_(), block.gamma_m2.zero_()
    for block in network.audio_st_prior_blocks:
        for layer in (block.spatial_cross_attn.proj, block.temporal_cross_attn.proj, block.mlp.fc2):
            layer.weight.zero_(), layer.bias.zero_()
    branch = JavisDiT01Audio(V01)
    branch.load_state_dict({name: network.state_dict()[name] for name in branch.state_dict()})
    x, mask = Streams(torch.randn(2, 4, 5, 4, 6), torch.randn(2, 8, 16, 16)), torch.ones(2, 9, dtype=torch.bool)
    text, level, null = torch.randn(2, 9, V01.caption_channels), torch.tensor([300.0, 700.0]), network.null_prior()
    whole = network(x, level, text, mask, PriorTokens(null.spatial, null.temporal), size=(32.0, 48.0), fps=24.0)
    torch.testing.assert_close(branch(x.audio, level, text, mask, fps=24.0), whole.audio, atol=1e-5, rtol=0)


def test_the_masks_are_those_of_the_official_configuration():
    generator = torch.Generator().manual_seed(0)
    given = {  # video frames that are given of 20, and whether the audio is given: None where it follows the video
        "none": ({0}, False), "video_to_audio": ({20}, False), "audio_to_video": ({0}, True), "image_with_audio": ({1}, True),
        "interpolate": ({10}, None), "quarter_head": (set(range(1, 6)), None), "quarter_tail": (set(range(1, 6)), None),
        "quarter_random": (set(range(1, 6)), None), "quarter_head_tail": (set(range(2, 11, 2)), None), "random": (set(range(20)), None),
        "image_head": ({1}, False), "image_tail": ({1}, False), "image_random": ({1}, False), "image_head_tail": ({2}, False),
    }  # fmt: skip
    assert set(given) == set(SHARES)
    assert sum(SHARES.values()) == pytest.approx(1)
    for name, (counts, audio) in given.items():
        for _ in range(40):
            video, sound = noisy_frames(name, 20, 100, generator)
            assert int((~video).sum()) in counts, name
            expected = video.repeat_interleave(5) if audio is None else torch.full((100,), not audio)
            assert torch.equal(sound, expected), name
    head, _ = noisy_frames("quarter_head", 20, 100, generator)
    assert not head[0]
    assert head[-1]
    drawn = draw_masks(4000, 20, 100, generator)
    untouched = drawn.video.all(1) & drawn.audio.all(1)
    assert untouched.float().mean().item() == pytest.approx(SHARES["none"], abs=0.03)


def test_the_loss_counts_noisy_frames_for_each_sample():
    velocity, zero = torch.zeros(3, 2, 4, 1), torch.zeros(3, 2, 4, 1)
    velocity[0, :, 0], velocity[1, :, 1] = 2.0, 1.0
    sigma = torch.tensor([[0.0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]])
    assert frame_loss(velocity, zero, zero, sigma).item() == pytest.approx(1 / 3)  # (0 + 1 + 0) / 3


def test_one_sample_in_ten_reads_the_null():
    states = dropped(torch.ones(4000, 3, 2), torch.zeros(3, 2), torch.Generator().manual_seed(0))
    rows = states.flatten(1)
    assert ((rows == 0).all(1) | (rows == 1).all(1)).all()
    assert (rows == 0).all(1).float().mean().item() == pytest.approx(0.1, abs=0.02)


def test_changed_clips_differ_from_the_clip_in_both_streams(shards):
    clips = ClipShards.read(shards)
    latents, stored, _ = clips.load(clips.samples)
    for kind in ("spatial", "temporal"):
        for name, latent in vars(latents).items():
            other = stored[f"{kind}_{name}"]
            assert other.shape == (len(latent), 1, *latent.shape[1:])
            assert ((other[:, 0] - latent).abs().flatten(1).amax(1) > 1e-3).all()


@pytest.mark.parametrize("stage", ["javis-audio", "javis-prior", "javis-joint"])
def test_each_stage_prints_its_estimate(stage, release, shards, tmp_path, capsys):
    options = ["--model", "javisdit-v0.1", release, "--data", shards, "--run", tmp_path]
    assert duet("train", stage, *options, "--estimate") == 0
    assert "GiB  total" in capsys.readouterr().out


def test_what_a_stage_cannot_use_is_refused(release, shards, tmp_path, capsys):
    def refused(stage, model, data):
        assert duet("train", stage, "--model", *model, "--data", data, "--run", tmp_path) == 2
        return capsys.readouterr().err

    assert "javis-joint trains javisdit-v0.1" in refused("javis-joint", ("javisdit-v1.0", release), shards)
    write(tmp_path / "other" / "transformer", weights(torch.nn.Linear(2, 2)))
    for part in ("text_encoder", "vae", "audioldm2"):
        (tmp_path / "other" / part).symlink_to(release / part)
    assert "is required" in refused("javis-audio", ("javisdit-v0.1", tmp_path / "other"), shards)
