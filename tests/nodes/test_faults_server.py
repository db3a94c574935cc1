"""A real server survives cancels, a lack of memory, changed files and lost clients: it answers, and the next graph runs.

``server_faults.py`` is the campaign with more tries of each."""

import os
import random
import shutil
from pathlib import Path

import pytest
from comfy_server import PACK, ended, example, fetch, queued, run_graph, server_process
from hostile_graphs import ESCAPES, hostile, try_hostile, with_plan_files
from server_faults import cancel_at_random, disconnect, long_queue, quick

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: the server was not run"),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The address, the process and the folder of a server with this pack and with nodes that run out of memory."""
    base = tmp_path_factory.mktemp("faults")
    (base / "models" / "diffusion_models").mkdir(parents=True)
    shutil.copy(PACK / "weights" / "pocket-av.safetensors", base / "models" / "diffusion_models" / "other.safetensors")
    with server_process(base, PACK / "tests" / "nodes" / "out_of_memory") as (address, process):
        yield address, process, base


@pytest.fixture(autouse=True)
def next_graph_runs(running):
    """After each test the server runs a graph."""
    yield
    run_graph(running[0], quick(random.randrange(10**9)))


def test_cancels_at_random_moments(running):
    rng = random.Random(5)
    outcomes = [cancel_at_random(running[0], rng, seed) for seed in range(8)]
    assert "cancelled" in outcomes


@pytest.mark.parametrize("times", [1, 10**9])
def test_sampling_runs_out_of_memory(running, times):
    graph = quick(3)
    graph["30"] = {"class_type": "ModelOutOfMemory", "inputs": {"model": ["1", 0], "times": times}}
    graph["4"]["inputs"]["model"] = ["30", 0]
    status, kind, _ = ended(running[0], queued(running[0], graph))
    assert status == "error"
    assert "OutOfMemory" in kind


@pytest.mark.parametrize("times", [1, 10**9])
def test_decoding_runs_out_of_memory(running, times):
    graph = quick(4)
    graph["30"] = {"class_type": "VAEOutOfMemory", "inputs": {"vae": ["1", 2], "times": times}}
    graph["7"]["inputs"]["video_vae"] = ["30", 0]
    status, kind, _ = ended(running[0], queued(running[0], graph))
    if times == 1:  # the host decodes again in tiles
        assert status == "success"
    else:
        assert "OutOfMemory" in kind


def test_a_model_file_is_replaced_while_its_graph_waits(running):
    address, _, base = running
    path = base / "models" / "diffusion_models" / "other.safetensors"
    graph = quick(5)
    graph["1"]["inputs"]["model"] = path.name
    assert run_graph(address, graph)
    waiting = queued(address, example("text_to_av", DuetSampler={"steps": 6, "seed": 11}))
    graph["6"]["inputs"]["seed"] = 6
    after = queued(address, graph)
    path.write_bytes(path.read_bytes()[:100_000])
    assert ended(address, waiting)[0] == "success"
    _, kind, found = ended(address, after)
    assert kind in ("", "ValueError"), found
    graph["6"]["inputs"]["seed"] = 7
    assert ended(address, queued(address, graph))[0] in ("success", "error")


def test_two_graphs_at_once_and_a_lost_client(running):
    address = running[0]
    both = [queued(address, quick(seed)) for seed in (20, 21)]
    assert [ended(address, prompt)[0] for prompt in both] == ["success", "success"]
    disconnect(address, 22)


def test_hostile_workflow_json_is_refused_or_ends_and_nothing_leaves_the_folders(running):
    """With random inputs replaced, and with the paths of saved plans outside the server's folders."""
    address, _, base = running
    rng = random.Random(6)
    for _ in range(25):
        graph, _, settings = hostile(rng)
        try_hostile(address, graph, settings=settings)
    try_hostile(address, with_plan_files("duet/kept"), settings=False)
    assert (base / "output" / "duet" / "kept_00001.plan.json").is_file()
    for path in ESCAPES:
        try_hostile(address, with_plan_files(path), settings=False)
    written = {folder.relative_to(base).parts[0] for folder in base.rglob("*escaped*")}
    assert written <= {"output", "temp"}
    assert not [path for folder in (base.parent, Path("/"), Path.home()) for path in folder.glob("*escaped*")]


def test_a_queue_of_graphs_does_not_grow(running):
    address, process, _ = running
    early, late = long_queue(address, process, 15)
    assert late < early + 200
    assert fetch(f"{address}/queue")["queue_running"] == []
