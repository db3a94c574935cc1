"""``duet sweep --servers`` on two real servers, one of which is killed in the middle. Slow; needs COMFYUI_PATH."""

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from comfy_server import server_process

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.media.provenance import read_provenance

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: the servers were not run"),
]
SEEDS = [str(seed) for seed in range(7, 13)]


@pytest.fixture
def servers(tmp_path):
    """Addresses and processes of two servers, started at the same time."""
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        managers = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            managers.append(server_process(tmp_path / name))
        started = list(pool.map(lambda manager: manager.__enter__(), managers))
        for manager in managers:
            stack.push(manager)
        yield started


def test_a_killed_server_loses_no_seed(servers, root, tmp_path, capsys):
    (address, process), _ = servers
    out = tmp_path / "out"

    def kill_in_the_middle():
        while len(list(out.glob(".duet-*/take-*.mp4"))) < 2:
            time.sleep(0.1)
        process.kill()

    killer = threading.Thread(target=kill_in_the_middle, daemon=True)
    killer.start()
    workflow = root / "workflows" / "api" / "text_to_av.json"
    options = ["--servers", ",".join(url for url, _ in servers), "--workflow", str(workflow), "--by", "events"]
    numbers = ["--seed", SEEDS[0], "-n", str(len(SEEDS)), "--patience", "5"]
    assert main(["sweep", *options, *numbers, "-o", str(out)]) == 0
    killer.join(10)
    shown = capsys.readouterr()
    assert f"{address} is no longer used: it did not answer for 5 s" in shown.err
    assert re.search(r"127\.0\.0\.1:\d+ \d+/8", shown.err), "steps come over the websocket"
    clips = sorted(out.glob(".duet-*/take-*.mp4"), key=lambda path: int(path.stem.rpartition("-")[2]))
    seeds = [read_provenance(clip)["prompt"]["6"]["inputs"]["seed"] for clip in clips]
    assert [str(seed) for seed in seeds] == SEEDS
    table = (out / "takes.csv").read_text().splitlines()[1:]
    assert sorted(row.split(",")[2] for row in table) == sorted(SEEDS)
    scores = [float(row.split(",")[3]) for row in table]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0
