"""Pieces on a Ray cluster of two nodes on this computer."""

import os
import shutil
import socket
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

pytest.importorskip("ray")

from cluster_work import Watched, Work, visible_gpus

from duet_av.pipelines.bench.prompts import TEST, bench_prompts
from duet_av.pipelines.bench.runner import Run, run_true
from duet_av.pipelines.cli import generate
from duet_av.pipelines.cli.main import main
from duet_av.pipelines.cluster import on_ray
from duet_av.pipelines.cluster.executor import AHEAD, Executor, Processes
from duet_av.pipelines.cluster.on_ray import RETRIES, connected

PIECES = 24
TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one CPU each, as Ray itself tests clusters; its workers import what this process imports."""
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    pack = str(Path(sys.modules["duet_av"].__file__).parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TESTS), before or pack)))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def test_killed_workers_lose_nothing_and_only_their_pieces_are_repeated(cluster, tmp_path):
    lost = (3, 9, 16)
    work = Work(tmp_path, doomed=lost, seconds=0.05)
    with connected(cluster.address) as executor:
        assert str(executor) == "2 node(s), 2 CPU(s), 0 GPU(s)"
        found = list(executor.map(work, range(PIECES)))
    (tmp_path / "here").mkdir()
    assert found == list(Processes().map(Work(tmp_path / "here"), range(PIECES)))
    assert work.counts("end", PIECES) == [1] * PIECES
    assert work.counts("start", PIECES) == [1 + (piece in lost) for piece in range(PIECES)]
    assert len(list(tmp_path.glob("loaded.*"))) <= 2 + len(lost), "each worker loads once"


def test_pieces_that_fail_end_the_work_with_their_own_message(cluster, tmp_path):
    work = Work(tmp_path, strict=True)
    with connected(cluster.address) as executor, pytest.raises(ValueError, match=r"^The piece 13 is not wanted"):
        list(executor.map(work, range(100)))
    assert work.counts("start", 14)[13] == 1, "it is not tried again"
    assert sum(work.counts("start", 100)) <= 13 + 2 * AHEAD + 1
    cursed = Work(tmp_path, cursed=(101,))
    with (
        connected(cluster.address) as executor,
        pytest.raises(ValueError, match="Piece 1 of the work lost its worker 4"),
    ):
        list(executor.map(cursed, range(100, 103)))
    assert work.counts("start", 102)[101] == 1 + RETRIES


def test_pieces_are_read_as_far_as_needed_and_a_gpu_is_requested_where_there_is_one(cluster, tmp_path):
    node, read = cluster.add_node(num_cpus=1, num_gpus=1), []
    try:
        with connected(cluster.address) as executor:
            found = executor.map(Work(tmp_path), (read.append(k) or k for k in range(1000)))
            assert [next(found) for _ in range(5)] == [0, 1, 4, 9, 16]
            assert len(read) <= 5 + AHEAD * 3
            found.close()
            assert set(executor.map(visible_gpus, range(3), gpu=True)) == {"0"}
    finally:
        cluster.remove_node(node)


def test_workers_with_another_pack_are_refused(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "pack_digest", lambda: "another")
    with connected(cluster.address) as executor, pytest.raises(ValueError, match="has another version of Duet"):
        list(executor.map(Work(tmp_path), range(2)))


@pytest.fixture
def one_thread():
    """Torch computes with one thread, as in a worker: the number of threads changes the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def watched(cluster, tmp_path, monkeypatch):
    """One connection to the cluster for all commands, in which the worker of piece 1 of each map is killed."""
    with connected(cluster.address) as executor:
        found = Watched(executor, tmp_path / "notes")
        monkeypatch.setattr(on_ray, "connected", lambda _address, _jobs: nullcontext(found))
        yield found


def run_commands(work: Path, out: Path, *where: str) -> dict[Path, bytes]:
    """The files that generate, data and sweep write to ``out``; data encodes the clips in ``work / "clips"``."""
    out.mkdir()
    fast = ["--steps", "2", *where]
    assert main(["generate", "--prompts", str(work / "prompts.txt"), *fast, "-o", str(out / "c.mp4")]) == 0
    if not (work / "clips").exists():
        (work / "clips").mkdir()
        for path in out.glob("c-*.mp4"):
            shutil.copy(path, work / "clips")
            (work / "clips" / f"{path.stem}.txt").write_text("a bell rings")
    assert main(["data", str(work / "clips"), "-o", str(out / "d.safetensors"), *where]) == 0
    assert main(["sweep", "a drum", *fast, "-n", "3", "--keep", "2", "-o", str(out / "sweep")]) == 0
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_commands_and_the_bench_lose_nothing_when_workers_are_killed(watched, tmp_path, one_thread, monkeypatch):
    monkeypatch.setattr(generate, "BATCH", 1)
    (tmp_path / "prompts.txt").write_text("a small red ball bounces\na bell rings\n")
    here = run_commands(tmp_path, tmp_path / "here")
    assert (
        len(here) == 2 + 2 + 4 + 5
    )  # clips; data and its report; the sweep's files; its three records and two latents
    assert run_commands(tmp_path, tmp_path / "there", "--cluster", "watched") == here
    prompts = [prompt for stratum in ("single", "silent") for prompt in bench_prompts(20, TEST, strata=(stratum,))[:2]]
    scores = run_true(prompts, Run(20, TEST))
    assert run_true(prompts, Run(20, TEST, executor=watched, folder=tmp_path / "kept")) == scores
    assert run_true(prompts, Run(20, TEST, executor=NoExecutor(), folder=tmp_path / "kept")) == scores
    for notes, pieces in zip(watched.maps, (2, 2, 3, 2), strict=True):
        assert notes.counts("start", pieces) == [1 + (piece == 1) for piece in range(pieces)]
        assert notes.counts("end", pieces) == [1] * pieces


class NoExecutor(Executor):
    """Computes nothing."""

    here, workers = True, 0

    def map(self, function, pieces, *, gpu=False):
        assert not list(pieces)
        return iter(())


@pytest.mark.parametrize(
    ("address", "message"),
    [("here", "it must be local, HOST:PORT or ray://HOST:PORT"), ("ray://127.0.0.1:{port}", "nothing answers there")],
)
def test_an_address_without_ray_is_refused_at_once(address, message, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(port=free.getsockname()[1])
    command = ["bench", "core", "--prompts", "20", "--cluster", address]
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_a_missing_package_and_a_suite_in_one_process_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(on_ray, "find_spec", lambda _name: None)
    assert main(["bench", "core", "--prompts", "20", "--cluster", "local"]) == 2
    assert "--cluster needs the package ray, which the extra [cluster] installs" in capsys.readouterr().err
    assert main(["bench", "people", "--cluster", "local"]) == 2
    assert "The suite 'people' runs in one process" in capsys.readouterr().err
