"""``duet train context-tokens``: tasks, routes and what learns, on a tiny LTX-2."""

import pytest
import torch

pytest.importorskip("diffusers")

from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.weights import load_weights
from duet_av.pipelines.models.ltx2.context import load_own_context
from duet_av.pipelines.models.ltx2.folder import LTX2Folder
from duet_av.pipelines.training.context_tokens import RECIPE, ContextLTX2, ContextObjective
from duet_av.pipelines.training.shards import ClipShards


@pytest.fixture
def objective(ltx2_release):
    network = LTX2Folder(ltx2_release).network(torch.device("cpu"), torch.float32)
    return ContextObjective(ContextLTX2(network))


@pytest.fixture
def batch(objective, ltx2_shards):
    clips = ClipShards.read(ltx2_shards)
    drawn = clips.load((clips.samples * 100)[:400])
    return objective.batch(clips, drawn, torch.Generator().manual_seed(0))


def rows(batch, index):
    """The batch reduced to the samples at ``index``."""
    read = type(batch.read)(
        **{
            **vars(batch.read),
            "text": batch.read.text.map(lambda z: z[index]),
            "mask": batch.read.mask[index],
            "route": batch.read.route.map(lambda z: z[index]),
        }
    )
    parts = (part.map(lambda z: z[index]) for part in (batch.x0, batch.noise, batch.sigma))
    return type(batch)(*parts, read)


def test_tasks_are_drawn_in_ccls_shares(batch):
    video, audio = batch.sigma.both()
    a2v, v2a = batch.read.route.both()
    of = {
        "a2v": a2v & ~v2a & (audio[:, 0] == 0),
        "v2a": v2a & ~a2v & (video == 0).all(1),
        "t2v+t2a": ~a2v & ~v2a & (video[:, 0] > 0),
        "t2av": a2v & v2a & (video[:, 0] > 0),
        "ti2av": a2v & v2a & (video[:, 0] == 0),
    }
    total = sum(RECIPE.mix.values())
    for task, found in of.items():
        assert found.float().mean() == pytest.approx(RECIPE.mix[task] / total, abs=0.06), task
    both = (video[:, 1] > 0) & (audio[:, 0] > 0)
    assert torch.equal(video[both, 1], audio[both, 0]), "both streams have one noise level"


def test_only_the_tokens_learn_and_a_closed_stream_reads_them_alone(objective, batch):
    learning = {name for name, p in objective.named_parameters() if p.requires_grad}
    assert learning == {"context.video", "context.audio"}
    closed = (~(batch.read.route.video | batch.read.route.audio)).nonzero().flatten()[:2]
    opened = (batch.read.route.video & batch.read.route.audio).nonzero().flatten()[:2]
    for index in (closed, opened):
        objective.zero_grad()
        objective(rows(batch, index))["loss"].backward()
        assert all(p.grad.abs().max() > 0 for p in objective.parameters() if p.requires_grad)
    part = rows(batch, closed)
    other = type(part)(part.x0, Streams(part.noise.video, part.noise.audio.flip(0)), part.sigma, part.read)
    with torch.no_grad():
        assert torch.equal(objective(part)["video"], objective(other)["video"]), "the video reads no audio"


def test_a_run_writes_the_tokens_for_networks_of_these_sizes(ltx2_release, ltx2_shards, tmp_path, capsys):
    options = ["--model", "ltx2", ltx2_release, "--data", ltx2_shards, "--run", tmp_path, "--steps", 2]
    command = [str(a) for a in ("train", "context-tokens", *options)]
    assert cli.main([*command, "--estimate"]) == 0
    assert "GiB" in capsys.readouterr().out
    assert cli.main(command) == 0
    path = tmp_path / "context-tokens" / "ltx2-context.safetensors"
    file = load_weights(path, "ltx2-context")
    assert file.record["mix"] == RECIPE.mix
    sizes = {name: file.config[name] for name in ("depth", "video_dim", "audio_dim")}
    assert load_own_context(path, **sizes).video.shape == (sizes["depth"], 8, sizes["audio_dim"])
    with pytest.raises(ValueError, match="holds context tokens for an LTX-2 with"):
        load_own_context(path, **{**sizes, "depth": 48})
    assert "trained null" in path.with_suffix(".md").read_text()
    capsys.readouterr()
