"""The training loop: it learns, resumes exactly, and saves the checkpoint with the best score."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from duet_av.pipelines.core.weights import load_weights
from duet_av.pipelines.training.loop import learning_rate, parameter_groups, train, update_ema


def weights(stage):
    return {name: value.clone() for name, value in stage.objective.state_dict().items()}


def test_the_loss_falls(stage, tmp_path, settings):
    def loss():
        batch = stage.batch(torch.Generator().manual_seed(5), 64)
        with torch.no_grad():
            return stage.objective(batch)["loss"].item()

    before = loss()
    train(stage, settings(tmp_path, steps=60, decay=0.1))
    assert loss() < 0.8 * before


class _KilledError(Exception):
    """Replaces the signal that ends a run."""


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.*")
def test_an_interrupted_run_resumes_to_identical_weights(stage, tmp_path, settings):
    start = weights(stage)
    train(stage, settings(tmp_path / "whole"))
    whole = weights(stage)

    stage.objective.load_state_dict(start)
    draw, drawn = stage.batch, []

    def killed_at_the_ninth(generator, size):
        drawn.append(1)
        if len(drawn) == 9:
            raise _KilledError
        return draw(generator, size)

    stage.batch = killed_at_the_ninth
    with pytest.raises(_KilledError):
        train(stage, settings(tmp_path / "cut", checkpoint_seconds=0.0))
    stage.objective.load_state_dict(start)
    stage.batch = draw
    train(stage, settings(tmp_path / "cut"))
    assert all(torch.equal(value, whole[name]) for name, value in weights(stage).items())


def test_the_checkpoint_with_the_best_score_is_saved(stage, tmp_path, settings):
    scores = iter([0.1, 0.9, 0.2, 0.9])
    stage.judge = lambda *_: {"score": next(scores)}
    record = train(stage, settings(tmp_path))
    assert record["chosen_step"] == 8
    file = load_weights(tmp_path / "pocket-av.safetensors", "pocket-av")
    assert file.record["chosen_step"] == 8
    card = (tmp_path / "pocket-av.md").read_text()
    assert "| chosen_step | 8 |" in card
    assert "| commit | " in card
    assert f"| torch | {torch.__version__} |" in card


TWO = """
import sys, torch
from pathlib import Path
from accelerate import PartialState
from torch import nn
from duet_av.pipelines.training.loop import Settings, train

class Stage:
    name = "two"
    objective = nn.Sequential(nn.Linear(3, 1))
    def batch(self, generator, size):
        return torch.randn(size, 3, generator=generator)
    def score(self):
        return {"score": 0.0}
    def save(self, record):
        (folder / "processes").write_text(str(record["batch"]))
        return []

class Objective(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
    def forward(self, x):
        return {"loss": (self.layer(x) - x.sum(1, keepdim=True)).square().mean()}

folder = Path(sys.argv[1])
torch.manual_seed(0)
stage = Stage()
stage.objective = Objective()
train(stage, Settings(steps=5, batch=4, lr=1e-2, run=folder, bfloat16=False))
torch.save(stage.objective.state_dict(), folder / f"{PartialState().process_index}.pt")
"""


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path, root):
    (tmp_path / "two.py").write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launch, str(tmp_path / "two.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "processes").read_text() == "4", "the processes share the batch"


def test_the_cross_modal_layers_have_a_higher_learning_rate(stage, tmp_path, settings):
    faster = settings(tmp_path, lr_factors={"context_attention": 3.0})
    groups = {group["factor"]: len(group["params"]) for group in parameter_groups(stage.objective, faster)}
    names = [name for name, _ in stage.objective.named_parameters()]
    assert groups == {
        3.0: sum("context_attention" in n for n in names),
        1.0: sum("context_attention" not in n for n in names),
    }


def test_the_learning_rate_has_warm_up_plateau_and_decay(tmp_path, settings):
    plan = settings(tmp_path, steps=100, warmup=10, lr=1.0, decay=0.2)
    assert [round(learning_rate(step, plan), 2) for step in (0, 9, 50, 80, 90, 99)] == [0.1, 1.0, 1.0, 1.0, 0.5, 0.05]


def test_the_average_has_a_short_memory_at_first():
    module = nn.Linear(1, 1, bias=False)
    ema = {"weight": torch.zeros(1, 1)}
    nn.init.ones_(module.weight)
    update_ema(ema, module, step=0, limit=0.99)
    assert ema["weight"].item() == pytest.approx(0.95)
    update_ema(ema, module, step=10_000, limit=0.99)
    assert ema["weight"].item() == pytest.approx(0.95 + 0.05 * 0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 7}, "is of another run: its seed is 0, and now 7"),
        ({"data": "9 rendered clips"}, "is of another run: its data is"),
        ({"steps": 3}, "has already been trained for"),
    ],
)
def test_a_run_does_not_resume_with_other_settings(stage, tmp_path, settings, changes, message):
    train(stage, settings(tmp_path))
    with pytest.raises(ValueError, match=f"{stage.name}.ckpt {message}"):
        train(stage, settings(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x80\x04."])
def test_a_damaged_checkpoint_is_named(stage, tmp_path, settings, content):
    run = settings(tmp_path).run
    run.mkdir(exist_ok=True)
    (run / f"{stage.name}.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{stage.name}\.ckpt is not a complete checkpoint .* Delete"):
        train(stage, settings(tmp_path))
