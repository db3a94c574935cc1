"""Training of the pocket network: tasks, routes, noise levels and losses."""

import pytest
import torch
from torch import nn

from duet_av.pipelines.models.pocket.network import TwinStreamDiT
from duet_av.pipelines.models.pocket.text import TextEncoder
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
from duet_av.pipelines.training.loop import train


def weights(stage):
    return {name: value.clone() for name, value in stage.objective.state_dict().items()}


def test_the_joint_task_mix_is_the_normalised_mix_of_the_paper():
    shares = dict(zip(TASKS, RECIPES["joint"].shares.tolist(), strict=True))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["t2av"] + shares["ti2av"] == pytest.approx(0.6 / 1.1)
    assert shares["a2v"] == shares["v2a"] == pytest.approx(0.15 / 1.1)
    # a row of both unimodal tasks counts for each: the paper's .1 and .1 in one
    assert shares["t2v+t2a"] + shares["i2v+t2a"] == pytest.approx(0.2 / 1.1)


@pytest.mark.parametrize(
    ("mix", "message"),
    [({"t2x": 1.0}, "'t2x' is not a task"), ({"a2v": -1.0}, "-1.0"), ({"a2v": 0.0}, "positive share")],
)
def test_invalid_task_mixes_are_rejected(mix, message):
    with pytest.raises(ValueError, match=message):
        Recipe(mix)


@pytest.mark.parametrize(("name", "other"), [("video", "audio"), ("audio", "video")])
def test_training_one_stream_does_not_change_the_other(make_stage, tmp_path, name, other, settings):
    stage = make_stage(name)
    before = weights(stage)
    train(stage, settings(tmp_path, steps=3))
    moved = {key for key, value in weights(stage).items() if not torch.equal(value, before[key])}
    assert any(f".{name}." in key for key in moved)
    assert not any(f".{other}." in key for key in moved)
    assert any(key.startswith("encoder.") for key in moved) == (name == "video"), (
        "the text encoder is trained with the video stream"
    )


def test_a_stage_trains_its_streams_regardless_of_earlier_stages(make_network, tmp_path):
    """CCL trains video alone, then audio alone, then both, on one network."""
    network, encoder = TwinStreamDiT(make_network().config), TextEncoder(words=["ball"], dim=12, depth=1, heads=2)
    cache = LatentCache(torch.randn(4, 3, 3, 4, 4), torch.randn(4, 5, 12), torch.randint(1, 5, (4, 2, 48)))
    for name in ("video", "audio", "joint"):
        FlowStage(name, cache, network, encoder, tmp_path, recipe=RECIPES[name], judge=lambda *_: {})
        learning = {stream for stream in ("video", "audio") if next(network.blocks[stream].parameters()).requires_grad}
        assert learning == set(RECIPES[name].streams)
        assert next(encoder.parameters()).requires_grad is (name != "audio")


def test_the_audio_stream_is_initialised_from_the_video_stream_where_shapes_agree(make_network):
    network = make_network()
    kept = start_audio_from_video(network)
    pair = network.pairs()[0]
    assert torch.equal(pair.video.self_attention.to_q.weight, pair.audio.self_attention.to_q.weight)
    assert kept == ["ends.audio.embed.weight", "ends.audio.out.weight", "ends.audio.out.bias"]


def test_without_routing_by_task_every_route_is_open(make_stage):
    batch = make_stage(by_task=False).batch(torch.Generator().manual_seed(0), 64)
    assert all(route.all() for route in batch.route)


def test_stop_gradient_blocks_gradients_through_a_clean_stream(make_stage):
    for stopped in (True, False):
        stage = make_stage(stop_gradient=stopped, mix={"v2a": 1.0})
        for half in (half for pair in stage.objective.network.pairs() for half in pair.present()):
            nn.init.normal_(half.context_attention.to_out.weight)
        nn.init.normal_(stage.objective.network.ends["audio"].out.weight)
        stage.objective(stage.batch(torch.Generator().manual_seed(0), 8))["loss"].backward()
        learnt = stage.objective.network.ends["video"].embed.weight.grad
        assert (learnt is None or not learnt.any()) == stopped


def test_tasks_and_their_routes():
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


def test_only_kept_streams_and_frames_are_clean():
    names = list(TASKS)
    task = torch.arange(len(names)).repeat(50)
    levels = draw_levels(task, frames=4, shared_level=0.6, generator=torch.Generator().manual_seed(0))
    for i, name in enumerate(names):
        video, audio = levels.video[task == i], levels.audio[task == i]
        task_flags = TASKS[name]
        assert (video[:, 0] == 0).all() == (task_flags.clean_video or task_flags.first)
        assert (video[:, 1:] == 0).all() == task_flags.clean_video
        assert (audio == 0).all() == task_flags.clean_audio
        assert torch.equal(video[:, 1], video[:, 3])


def test_a_share_of_joint_samples_has_one_noise_level():
    joint = draw_levels(
        torch.zeros(2000, dtype=torch.long), frames=2, shared_level=0.6, generator=torch.Generator().manual_seed(0)
    )
    shared = (joint.video[:, 1] == joint.audio[:, 0]).float().mean().item()
    assert shared == pytest.approx(0.6, abs=0.05)


def test_a_kept_stream_has_no_weight_in_the_loss(stage):
    batch = stage.batch(torch.Generator().manual_seed(1), 256)
    kept = batch.sigma.audio[:, 0] == 0
    assert kept.any()
    assert (batch.weight.audio[kept] == 0).all()
    assert (batch.weight.video[kept] == 1).all()


def test_a_kept_first_frame_is_excluded_from_the_loss():
    x0, clean = torch.zeros(1, 1, 2, 1, 1), torch.ones(1, 1, 2, 1, 1)
    clean[:, :, 0] = 100
    loss = FlowObjective._loss(clean, x0, torch.tensor([[0.0, 0.5]]), torch.ones(1))
    assert loss.item() == 4.0  # 1 / 0.5^2, of the second frame alone
