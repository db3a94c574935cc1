"""A real ComfyUI server for tests: start it, send graphs, wait for their results."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ANSWERED = ("success", "error")
STARTED, DONE = 300, 300  # seconds; on a busy machine a server needs two minutes to start
PACK = Path(__file__).resolve().parents[2]


def fetch(url, data=None):
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def wait(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := condition():
                return answer
        except OSError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"nothing within {seconds} s")


@contextlib.contextmanager
def running_server(base, *packs):
    """A server whose models, inputs and outputs are in ``base``, with this pack and ``packs`` as its custom nodes: its address."""
    with server_process(base, *packs) as (address, _):
        yield address


@contextlib.contextmanager
def server_process(base, *packs):
    """The same server: its address, and its process, which a test may kill."""
    nodes = base / "custom_nodes"
    nodes.mkdir(exist_ok=True)
    for name, pack in {"duet": PACK, **{pack.name: pack for pack in packs}}.items():
        (nodes / name).symlink_to(pack)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    main = str(Path(os.environ["COMFYUI_PATH"]) / "main.py")
    options = ["--cpu", "--port", port, "--base-directory", str(base), "--preview-method", "latent2rgb"]
    with (base / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, main, *options], stdout=log, stderr=log, cwd=base)
    address = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: fetch(f"{address}/system_stats"), STARTED)
        yield address, process
    finally:
        process.terminate()
        process.wait(30)


def run_graph(address, graph):
    """The history entry of ``graph``.

    Raises:
        AssertionError: the server refused the graph, or a node failed; with the server's message.
    """
    try:
        prompt = fetch(f"{address}/prompt", {"prompt": graph})["prompt_id"]
    except urllib.error.HTTPError as refusal:
        raise AssertionError(refusal.read().decode()) from None
    history = wait(lambda: fetch(f"{address}/history/{prompt}").get(prompt), DONE)
    assert history["status"]["status_str"] == "success", history["status"]["messages"][-1]
    return history


def example(name, **smaller):
    """The API form of an example; ``smaller`` replaces inputs of the nodes of a class."""
    graph = json.loads((PACK / "workflows" / "api" / f"{name}.json").read_text())
    for node in graph.values():
        node["inputs"] |= smaller.get(node["class_type"], {})
    return graph


def queued(address, graph, **more):
    """The id of a queued graph, or None if the server refuses it as it should: with status 400 and JSON."""
    try:
        return fetch(f"{address}/prompt", {"prompt": graph, **more})["prompt_id"]
    except urllib.error.HTTPError as answer:
        refusal, text = answer.code, answer.read().decode()
    assert refusal == 400, f"status {refusal}: {text[:500]}"
    assert "error" in json.loads(text)
    return None


def ended(address, prompt):
    """The status of a graph once it has ended, and the type of the exception that ended it."""
    status = wait(lambda: fetch(f"{address}/history/{prompt}").get(prompt), DONE)["status"]
    assert status["status_str"] in ANSWERED
    found = [message for kind, message in status["messages"] if kind == "execution_error"]
    return status["status_str"], found[0]["exception_type"].rpartition(".")[2] if found else "", found
