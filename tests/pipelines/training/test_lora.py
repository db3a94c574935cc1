"""``duet train lora``: noise levels, a short run that resumes, what is saved, and what is refused."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.lora import add_lora
from duet_av.pipelines.models.ltx2.folder import LTX2Folder
from duet_av.pipelines.training.lora import LoRAObjective
from duet_av.pipelines.training.own_models import OwnLTX2, ltx2_levels
from duet_av.pipelines.training.shards import ClipShards, Drawn


def duet(*arguments):
    return cli.main([str(a) for a in arguments])


def train(release, shards, run, *more):
    return duet(*("train", "lora", "--model", "ltx2", release, "--data", shards, "--run", run, "--rank", 2, *more))


@pytest.fixture
def model(ltx2_release):
    return OwnLTX2(LTX2Folder(ltx2_release).network(torch.device("cpu"), torch.float32))


@pytest.fixture
def draw(ltx2_shards):
    """A batch of an objective with random latents."""
    clips = ClipShards.read(ltx2_shards)

    def draw(objective, size):
        text = {"video": torch.randn(size, 8, 16), "audio": torch.randn(size, 8, 16), "mask": torch.ones(size, 8)}
        latents = Streams(torch.randn(size, 128, 3, 1, 2), torch.randn(size, 128, 18))
        return objective.batch(clips, Drawn(latents, text, []), torch.Generator().manual_seed(0))

    return draw


@pytest.mark.parametrize(("tokens", "median"), [(1024, 0.669), (4096, 0.812)])
def test_noise_levels_are_higher_for_longer_clips(tokens, median):
    """The medians follow from the distribution functions: nine parts stretched logit-normal, one part uniform."""
    found = ltx2_levels(20_000, tokens, torch.Generator().manual_seed(0))
    assert found.min() > 0
    assert found.max() <= 1
    assert found.median().item() == pytest.approx(median, abs=0.01)


def test_both_streams_share_a_noise_level_and_some_first_frames_are_clean(model, draw):
    video, audio = draw(LoRAObjective(model), 500).sigma.both()
    assert torch.equal(video[:, 1:], audio.expand(-1, 2))
    clean = video[:, 0] == 0
    assert 0.06 < clean.float().mean() < 0.14
    assert torch.equal(video[~clean, 0], audio[~clean, 0])


def test_gradient_checkpointing_leaves_loss_and_gradients_unchanged(model, draw):
    network = model.network
    add_lora(network, model.targets, rank=2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    objective, found = LoRAObjective(model), []
    batch = draw(objective, 2)
    for checkpointed in (True, False):
        if not checkpointed:
            network.disable_gradient_checkpointing()
        objective.zero_grad()
        loss = objective(batch)["loss"]
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in network.parameters() if p.requires_grad)])
    assert len(found[0]) > 90
    for checkpointed, plain in zip(*found, strict=True):
        torch.testing.assert_close(checkpointed, plain, atol=1e-5, rtol=1e-4)


def test_a_run_learns_resumes_and_stores_the_lora_alone(ltx2_release, ltx2_shards, tmp_path, capsys):
    before = {path: path.read_bytes() for path in (ltx2_release / "transformer").iterdir()}
    assert train(ltx2_release, ltx2_shards, tmp_path, "--steps", 3) == 0
    checkpoint = torch.load(tmp_path / "lora.ckpt", weights_only=True)
    assert all("lora_" in name for part in ("ema", "best_weights") for name in checkpoint["state"][part])
    assert all("lora_" in name for name in checkpoint["module"])
    assert train(ltx2_release, ltx2_shards, tmp_path, "--steps", 6) == 0
    assert torch.load(tmp_path / "lora.ckpt", weights_only=True)["state"]["step"] == 6
    tensors = load_file(tmp_path / "lora" / "ltx2-lora.safetensors")
    blocks, attentions, projections = 2, 6, 4
    assert len(tensors) == blocks * attentions * projections * 3
    assert tensors["diffusion_model.transformer_blocks.0.audio_to_video_attn.to_q.lora_A.weight"].shape == (2, 64)
    assert tensors["diffusion_model.transformer_blocks.1.attn1.to_out.0.alpha"] == 2
    assert any(value.abs().max() > 0 for name, value in tensors.items() if "lora_B" in name)
    assert {path: path.read_bytes() for path in before} == before
    assert "your own clips" in (tmp_path / "lora" / "ltx2-lora.md").read_text()
    capsys.readouterr()


def test_what_cannot_be_trained_is_refused_with_the_reason(ltx2_release, ltx2_shards, tmp_path, capsys):
    cases = [
        (("lora", "--data", ltx2_shards), "lora needs --model NAME PATH"),
        (("lora", "--model", "ltx2", ltx2_release, "--data", tmp_path / "none"), "is not a folder"),
        (("lora", "--model", "ltx2", ltx2_release, "--data", tmp_path), "holds no complete set of encoded clips"),
        (("lora", "--model", "wan", ltx2_release, "--data", ltx2_shards), "--model is wan"),
        (("joint", "--model", "ltx2", ltx2_release), "joint trains the pocket model"),
        (("joint", "--estimate"), "--estimate is for lora, timed-lora, context-tokens and the stages of JavisDiT"),
    ]
    for arguments, message in cases:
        assert duet("train", *arguments) == 2
        assert message in capsys.readouterr().err


def test_clips_of_other_encoders_are_refused(ltx2_release, ltx2_shards, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(LTX2Folder, "fingerprint", lambda _: "other")
    assert train(ltx2_release, ltx2_shards, tmp_path) == 2
    assert "with other VAEs or another text encoder" in capsys.readouterr().err


@pytest.fixture(params=["ddp", "fsdp"])
def launcher(request, root, tmp_path):
    """Arguments of Python that start a script in two processes on the CPU: torch's launcher, and accelerate's with the configuration of the
    documentation."""
    if request.param == "ddp":
        return ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    lines = (root / "docs" / "training.md").read_text().partition("```yaml\n")[2].partition("```")[0].splitlines()
    here = {"num_machines": 1, "num_processes": 2, "main_process_ip": "127.0.0.1", "main_process_port": 0}
    assert here.keys() <= {line.partition(":")[0] for line in lines}
    lines = [line for line in lines if line.partition(":")[0] not in here]
    lines += [f"{name}: {value}" for name, value in {**here, "use_cpu": "true"}.items()]
    (tmp_path / "fsdp.yaml").write_text("\n".join(lines))
    return ["-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "fsdp.yaml")]


@pytest.mark.slow
def test_two_processes_train_the_lora_of_one(ltx2_release, ltx2_shards, tmp_path, launcher):
    """Over gloo: each process takes its part of the batch, the first one writes. With FSDP each holds a part of the weights."""
    options = ["--model", "ltx2", ltx2_release, "--data", ltx2_shards, "--run", tmp_path / "two", "--rank", 2]
    # In the script, because the launcher abbreviates --run-path to --run.
    arguments = [str(a) for a in ("train", "lora", *options, "--steps", 3, "--batch", 2)]
    code = f"import sys; from duet_av.pipelines.cli.main import main; sys.exit(main({arguments!r}))"
    (tmp_path / "two.py").write_text(code)
    command = [sys.executable, *launcher, str(tmp_path / "two.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert train(ltx2_release, ltx2_shards, tmp_path / "one", "--steps", 3, "--batch", 2) == 0
    two, one = (load_file(tmp_path / name / "lora" / "ltx2-lora.safetensors") for name in ("two", "one"))
    learnt = [name for name in one if "lora_B" in name]  # zero before training
    a, b = (torch.cat([tensors[name].flatten() for name in learnt]) for tensors in (two, one))
    assert (a - b).norm() < 0.02 * b.norm()
    torch.testing.assert_close(two, one, atol=1e-5, rtol=0)
    shards = list((tmp_path / "two" / "lora.shards").glob("step-*/*.safetensors"))
    assert len(shards) == 2
    assert "| batch | 2 |" in (tmp_path / "two" / "lora" / "ltx2-lora.md").read_text()
