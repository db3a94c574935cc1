"""Training in several processes: the number of processes changes neither what is drawn nor the result, and a run resumes with another."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.torch_version import TorchVersion

from duet_av.pipelines.core.conditions import PlacedTokens
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.training.checkpoints import Checkpoints
from duet_av.pipelines.training.loop import Settings, identity
from duet_av.pipelines.training.parallel import blocks_of, check_batch, check_torch, share
from duet_av.pipelines.training.prior import PriorBatch


@dataclass(frozen=True)
class Batch:
    x: Streams
    told: PlacedTokens
    rate: float


@pytest.fixture(scope="module")
def elastic(tmp_path_factory):
    """The folder in which ``tests/elastic.py`` trained."""
    folder = tmp_path_factory.mktemp("elastic")
    tests = Path(__file__).resolve().parents[2]
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(tests)!r}); import conftest; "
        f"runpy.run_path({str(tests / 'elastic.py')!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def losses(folder, *stops):
    return [row for stop in stops for row in json.loads((folder / f"losses-{stop}.json").read_text())]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parts", "sharded"])
def test_two_then_four_then_one_process_give_the_loss_curve_of_one(elastic, kind):
    whole, parts = losses(elastic / "whole", 12), losses(elastic / kind, 4, 8, 12)
    assert [step for step, _ in parts] == [step for step, _ in whole] == list(range(12))
    for (_, a), (_, b) in zip(whole, parts, strict=True):
        assert b == pytest.approx(a, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parts", "sharded"])
def test_the_weights_and_the_best_score_are_those_of_one_process(elastic, kind):
    saved = [torch.load(elastic / name / "elastic.ckpt", weights_only=True) for name in ("whole", kind)]
    for part in ("ema", "best_weights"):
        for name, value in saved[0]["state"][part].items():
            torch.testing.assert_close(saved[1]["state"][part][name], value, atol=1e-5, rtol=1e-4)
    assert [each["state"]["best_step"] for each in saved] == [12, 12], "it learns, so that equal curves mean something"
    assert saved[0]["state"]["best"] == pytest.approx(saved[1]["state"]["best"], abs=1e-4)
    torch.testing.assert_close(saved[0]["module"], saved[1]["module"], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parts", "sharded"])
def test_several_processes_write_one_folder_of_safetensors_and_one_process_a_file(elastic, kind):
    for stop, count in ((4, 2), (8, 4)):
        files = (elastic / kind / f"files-{stop}").read_text().splitlines()
        step = f"elastic.shards/step-{stop:09d}"
        shards = [name for name in files if name.startswith(f"{step}/") and name.endswith(".safetensors")]
        assert len(shards) == count
        assert f"{step}/checkpoint.json" in files
        assert sum(name.startswith("elastic.shards/step-") and name.count("/") == 1 for name in files) == 1
        assert "elastic.ckpt" not in files
    assert "elastic.shards" not in (elastic / kind / "files-12").read_text()


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_ends_every_process(elastic):
    errors = [(elastic / "blocked" / f"error-{rank}").read_text() for rank in range(2)]
    assert "elastic.shards" in errors[0]
    assert errors[0] == errors[1]


def test_a_torch_without_sharded_checkpoints_is_refused_for_several_processes(monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.8.0+cpu"))
    check_torch(1)
    with pytest.raises(ValueError, match=r"needs torch 2\.9 or newer"):
        check_torch(2)
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.10.0"))
    check_torch(2)


def test_blocks_are_the_entries_of_outermost_lists():
    block = nn.ModuleDict({"projections": nn.ModuleList([nn.Linear(1, 1), nn.Identity()])})
    network = nn.Sequential(nn.Linear(1, 1), nn.ModuleDict({"blocks": nn.ModuleList([block])}))
    assert list(blocks_of(network)) == [block], "the list in a block is a part of it"


def test_a_share_is_the_rows_of_one_process():
    told = PlacedTokens(torch.arange(16.0).view(4, 4, 1), torch.rand(4, 1), torch.tensor([True, False, True, False]))
    batch = Batch(Streams(torch.arange(4), None), told, 16.0)
    second = share(batch, 4, index=1, count=2)
    assert second.x.video.tolist() == [2, 3]
    assert second.x.audio is None
    assert second.rate == 16.0
    assert second.told.tokens.flatten().tolist() == [*range(8, 16)]
    assert torch.equal(second.told.places, told.places), "places are no samples, though there are as many"
    assert second.told.shown.tolist() == [True, False]
    assert share(batch, 4, index=0, count=1) is batch


def test_the_shares_of_a_stage_are_its_batch(stage):
    whole = stage.batch(torch.Generator().manual_seed(3), 8)
    parts = [share(whole, 8, index=k, count=4) for k in range(4)]
    for name in ("x0", "noise", "sigma", "route", "weight", "tokens"):
        for stream in ("video", "audio"):
            rows = torch.cat([getattr(getattr(part, name), stream) for part in parts])
            assert torch.equal(rows, getattr(getattr(whole, name), stream))
    assert torch.equal(torch.cat([part.pick for part in parts]), whole.pick)


def test_a_prior_batch_keeps_its_shifts():
    clips, each = Streams(torch.rand(4, 2, 3, 1, 1), torch.rand(4, 2, 6)), torch.rand(4, 2, 6)
    ids, layout = torch.zeros(4, 5, dtype=torch.long), torch.rand(4, 2, 3)
    batch = PriorBatch(clips, each, ids, layout, torch.rand(4, 2, 2), torch.tensor([1, 2, 3, 4]))
    part = share(batch, 4, index=1, count=2)
    assert torch.equal(part.mismatched, each[2:])
    assert torch.equal(part.clips.both()[1], clips.both()[1][2:])
    assert part.shifts.tolist() == [1, 2, 3, 4]


def test_what_has_no_row_for_each_sample_is_refused():
    with pytest.raises(ValueError, match=r"holds a tensor of shape \(3,\)"):
        share({"x": torch.zeros(3)}, 4, index=0, count=2)
    with pytest.raises(ValueError, match="The batch is 6 and 4 processes train"):
        check_batch(6, 4)


@pytest.fixture
def kept(stage, tmp_path, settings):
    """Checkpoints of a tiny run, without one."""
    run: Settings = settings(tmp_path)
    return Checkpoints(tmp_path, "joint", identity(run), run.steps)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ("{", "not JSON"),
        ("[]", "is damaged. Delete joint.shards"),
        ('{"step": true}', "is damaged"),
        ('{"step": 3}', "is not a complete checkpoint"),
        (
            '{"step": 3, "seconds": 0, "best": 0, "best_step": 0, "scored": false, "run": {}}',
            "is of another run: its seed",
        ),
        (
            '{"step": 3, "seconds": 0, "best": 0, "best_step": 0, "scored": false, "run": RUN}',
            "does not fit the network",
        ),
    ],
)
def test_damaged_shards_are_named_with_the_remedy(stage, kept, numbers, message):
    folder = kept.shards / "step-000000003"
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text(numbers.replace("RUN", json.dumps(kept.run)))
    (folder / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"text")
    with pytest.raises(ValueError, match=message):
        kept.read(stage.objective, torch.optim.AdamW(stage.objective.parameters()))


def test_shards_that_were_not_completed_are_ignored(stage, kept):
    (kept.shards / "step-000000003.part").mkdir(parents=True)
    assert kept.read(stage.objective, torch.optim.AdamW(stage.objective.parameters())).step == 0
