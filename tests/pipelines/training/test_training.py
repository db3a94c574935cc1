"""Training: it learns, resumes as if never stopped, and picks checkpoints by their score."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from duet_av.pipelines.core.weights import load_weights
from duet_av.pipelines.models.pocket.network import TwinStreamDiT
from duet_av.pipelines.models.pocket.text import TextEncoder
from duet_av.pipelines.training.ablations.context import ARMS, Outcome, report
from duet_av.pipelines.training.data import LatentCache
from duet_av.pipelines.training.flow import (
    RECIPES,
    TASKS,
    FlowObjective,
    FlowStage,
    Recipe,
    draw_levels,
    start_audio_from_video,
)
from duet_av.pipelines.training.loop import Settings, learning_rate, parameter_groups, train, update_ema


@pytest.fixture
def make_stage(make_network, tmp_path):
    """Tiny flow stages over four clips, which every judge scores 1."""

    def make(name="joint", **changes):
        return _stage(make_network, tmp_path, name, replace(RECIPES[name], **changes))

    return make


@pytest.fixture
def stage(make_stage):
    return make_stage()


def _stage(make_network, tmp_path, name, recipe):
    torch.manual_seed(0)
    encoder = TextEncoder(words=["ball", "bell"], dim=12, depth=1, heads=2)
    network = TwinStreamDiT(make_network().config)
    network.init_weights()
    cache = LatentCache(torch.randn(4, 3, 3, 4, 4), torch.randn(4, 5, 12), torch.randint(1, 5, (4, 2, 48)))
    return FlowStage(name, cache, network, encoder, tmp_path, recipe=recipe, judge=lambda *_: {"score": 1.0})


def settings(tmp_path, **changes):
    usual = {
        "steps": 12,
        "batch": 8,
        "lr": 3e-3,
        "run": tmp_path / "run",
        "warmup": 2,
        "score_every": 4,
        "bfloat16": False,
    }
    return Settings(**{**usual, **changes})


def weights(stage):
    return {name: value.clone() for name, value in stage.objective.state_dict().items()}


def test_the_loss_falls(stage, tmp_path):
    def loss():
        batch = stage.batch(torch.Generator().manual_seed(5), 64)
        with torch.no_grad():
            return stage.objective(batch)["loss"].item()

    before = loss()
    train(stage, settings(tmp_path, steps=60, decay=0.1))
    assert loss() < 0.8 * before


class _KilledError(Exception):
    """Stands for the signal that ends a run."""


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.*")
def test_a_run_resumed_after_a_kill_is_the_run_never_stopped(stage, tmp_path):
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


def test_the_best_score_is_kept_and_not_the_last(stage, tmp_path):
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
    assert (tmp_path / "processes").read_text() == "8", "each process brings its own batch"


def test_the_joint_mix_is_the_papers_normalised():
    shares = dict(zip(TASKS, RECIPES["joint"].shares.tolist(), strict=True))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["t2av"] + shares["ti2av"] == pytest.approx(0.6 / 1.1)
    assert shares["a2v"] == shares["v2a"] == pytest.approx(0.15 / 1.1)
    # a row of both unimodal tasks counts for each: the paper's .1 and .1 in one
    assert shares["t2v+t2a"] + shares["i2v+t2a"] == pytest.approx(0.2 / 1.1)


@pytest.mark.parametrize(
    ("mix", "said"), [({"t2x": 1.0}, "'t2x' is no task"), ({"a2v": -1.0}, "-1.0"), ({"a2v": 0.0}, "positive share")]
)
def test_a_mix_that_means_nothing_is_refused(mix, said):
    with pytest.raises(ValueError, match=said):
        Recipe(mix)


@pytest.mark.parametrize(("name", "other"), [("video", "audio"), ("audio", "video")])
def test_a_stream_trained_alone_leaves_the_other_as_it_was(make_stage, tmp_path, name, other):
    stage = make_stage(name)
    before = weights(stage)
    train(stage, settings(tmp_path, steps=3))
    moved = {key for key, value in weights(stage).items() if not torch.equal(value, before[key])}
    assert any(f".{name}." in key for key in moved)
    assert not any(f".{other}." in key for key in moved)
    assert any(key.startswith("encoder.") for key in moved) == (name == "video"), (
        "the text encoder is trained with the video stream"
    )


def test_the_cross_modal_layers_learn_faster(stage, tmp_path):
    faster = settings(tmp_path, lr_factors={"context_attention": 3.0})
    groups = {group["factor"]: len(group["params"]) for group in parameter_groups(stage.objective, faster)}
    names = [name for name, _ in stage.objective.named_parameters()]
    assert groups == {
        3.0: sum("context_attention" in n for n in names),
        1.0: sum("context_attention" not in n for n in names),
    }


def test_a_stage_learns_its_streams_whatever_the_stage_before_it_learnt(make_network, tmp_path):
    """CCL trains video alone, then audio alone, then both, on one network."""
    network, encoder = TwinStreamDiT(make_network().config), TextEncoder(words=["ball"], dim=12, depth=1, heads=2)
    cache = LatentCache(torch.randn(4, 3, 3, 4, 4), torch.randn(4, 5, 12), torch.randint(1, 5, (4, 2, 48)))
    for name in ("video", "audio", "joint"):
        FlowStage(name, cache, network, encoder, tmp_path, recipe=RECIPES[name], judge=lambda *_: {})
        learning = {stream for stream in ("video", "audio") if next(network.blocks[stream].parameters()).requires_grad}
        assert learning == set(RECIPES[name].streams)
        assert next(encoder.parameters()).requires_grad is (name != "audio")


def test_the_audio_stream_starts_from_the_video_stream_where_shapes_agree(make_network):
    network = make_network()
    kept = start_audio_from_video(network)
    pair = network.pairs()[0]
    assert torch.equal(pair.video.self_attention.to_q.weight, pair.audio.self_attention.to_q.weight)
    assert kept == ["ends.audio.embed.weight", "ends.audio.out.weight", "ends.audio.out.bias"]


def test_without_routing_by_task_every_route_is_open(make_stage):
    batch = make_stage(by_task=False).batch(torch.Generator().manual_seed(0), 64)
    assert all(route.all() for route in batch.route)


def test_stop_gradient_keeps_a_clean_stream_from_learning_through_the_other(make_stage):
    for stopped in (True, False):
        stage = make_stage(stop_gradient=stopped, mix={"v2a": 1.0})
        for half in (half for pair in stage.objective.network.pairs() for half in pair.present()):
            nn.init.normal_(half.context_attention.to_out.weight)
        nn.init.normal_(stage.objective.network.ends["audio"].out.weight)
        stage.objective(stage.batch(torch.Generator().manual_seed(0), 8))["loss"].backward()
        learnt = stage.objective.network.ends["video"].embed.weight.grad
        assert (learnt is None or not learnt.any()) == stopped


def _outcome(arm, seed, value):
    mass = {f"{way} {token}": 0.5 for way in ("a2v", "v2a") for token in ("event", "background")}
    return Outcome(
        arm, seed, [(64, value)], {"sync_normalised": value, "kind_accuracy": 1.0}, [value - 0.1, value + 0.1], mass
    )


def test_the_ablation_is_reported_with_the_spread_of_its_seeds():
    outcomes = [
        _outcome(arm, seed, 0.8 - 0.3 * (arm == "gated") + 0.05 * seed)
        for arm in ("full", "gated")
        for seed in range(3)
    ]
    full, gated = report(outcomes, commit="x")["rows"]
    assert (full["variant"], full["seeds"]) == ("full", [0, 1, 2])
    assert gated["sync_f1_minus_full"]["mean"] == pytest.approx(-0.3)
    low, high = full["sync_f1"]["ci95"]
    assert low < full["sync_f1"]["mean"] < high
    assert set(ARMS) >= {"full", "no-context-tokens", "no-windows", "index-positions", "gated", "no-routing"}


def test_the_tasks_and_their_routes():
    routes = {
        name: (t.a2v, t.v2a, t.learn_video, t.learn_audio, t.clean_video, t.clean_audio, t.first)
        for name, t in TASKS.items()
    }
    assert routes == {
        "t2av": (True, True, True, True, False, False, False),
        "ti2av": (True, True, True, True, False, False, True),
        "t2v+t2a": (False, False, True, True, False, False, False),
        "i2v+t2a": (False, False, True, True, False, False, True),
        "a2v": (True, False, True, False, False, True, False),
        "v2a": (False, True, False, True, True, False, False),
    }


def test_what_is_given_is_clean_and_nothing_else_is():
    names = list(TASKS)
    task = torch.arange(len(names)).repeat(50)
    levels = draw_levels(task, frames=4, shared_level=0.6, generator=torch.Generator().manual_seed(0))
    for i, name in enumerate(names):
        video, audio = levels.video[task == i], levels.audio[task == i]
        given = TASKS[name]
        assert (video[:, 0] == 0).all() == (given.clean_video or given.first)
        assert (video[:, 1:] == 0).all() == given.clean_video
        assert (audio == 0).all() == given.clean_audio
        assert torch.equal(video[:, 1], video[:, 3])


def test_joint_samples_share_their_level_in_part():
    joint = draw_levels(
        torch.zeros(2000, dtype=torch.long), frames=2, shared_level=0.6, generator=torch.Generator().manual_seed(0)
    )
    shared = (joint.video[:, 1] == joint.audio[:, 0]).float().mean().item()
    assert shared == pytest.approx(0.6, abs=0.05)


def test_a_stream_that_is_given_teaches_nothing(stage):
    batch = stage.batch(torch.Generator().manual_seed(1), 256)
    given = batch.sigma.audio[:, 0] == 0
    assert given.any()
    assert (batch.weight.audio[given] == 0).all()
    assert (batch.weight.video[given] == 1).all()


def test_a_given_first_frame_is_left_out_of_the_loss():
    x0, clean = torch.zeros(1, 1, 2, 1, 1), torch.ones(1, 1, 2, 1, 1)
    clean[:, :, 0] = 100
    loss = FlowObjective._loss(clean, x0, torch.tensor([[0.0, 0.5]]), torch.ones(1))
    assert loss.item() == 4.0  # 1 / 0.5^2, of the second frame alone


def test_the_learning_rate_warms_up_stays_and_falls_to_zero(tmp_path):
    plan = settings(tmp_path, steps=100, warmup=10, lr=1.0, decay=0.2)
    assert [round(learning_rate(step, plan), 2) for step in (0, 9, 50, 80, 90, 99)] == [0.1, 1.0, 1.0, 1.0, 0.5, 0.05]


def test_the_average_follows_quickly_at_first():
    module = nn.Linear(1, 1, bias=False)
    ema = {"weight": torch.zeros(1, 1)}
    nn.init.ones_(module.weight)
    update_ema(ema, module, step=0, limit=0.99)
    assert ema["weight"].item() == pytest.approx(0.95)
    update_ema(ema, module, step=10_000, limit=0.99)
    assert ema["weight"].item() == pytest.approx(0.95 + 0.05 * 0.01)
