"""The blueprints on a real server: the host lists them, and each runs with a video around it. Slow; needs COMFYUI_PATH."""

import json
import os

import pytest
from comfy_server import fetch, run_graph
from templates import flatten

from duet_av.pipelines.media.mp4 import read_mp4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: the server was not run"),
]
BLUEPRINTS = [
    "Measure and Repair Sync (Duet)",
    "Plan and Drag (Duet pocket)",
    "Text to Clip with Sound (Duet pocket)",
    "Video to Sound (Duet pocket)",
]
SAVE, LOAD = 900, 901  # node ids


def listed(address):
    entries = fetch(f"{address}/global_subgraphs")
    return {e["name"]: key for key, e in entries.items() if e["info"]["node_pack"] == "custom_nodes.duet"}


def surrounded(graph):
    """``graph`` with a node that saves the blueprint's video, and one that loads the video that it takes, if it takes one."""
    (node,) = graph["nodes"]
    slot = next(k for k, out in enumerate(node["outputs"]) if out["name"] == "video")
    saving = {"name": "video", "type": "VIDEO", "link": SAVE}
    values = {"filename_prefix": "blueprint", "format": "auto", "codec": "auto"}
    graph["nodes"].append({"id": SAVE, "type": "SaveVideo", "inputs": [saving], "widgets_values": values})
    graph["links"].append([SAVE, node["id"], slot, SAVE, 0, "VIDEO"])
    for taken in (entry for entry in node["inputs"] if entry["type"] == "VIDEO"):
        taken["link"] = LOAD
        graph["nodes"].append({"id": LOAD, "type": "LoadVideo", "widgets_values": {"file": "duet_drum.mp4"}})
        graph["links"].append([LOAD, LOAD, 0, node["id"], 0, "VIDEO"])
    return graph


def test_the_host_lists_every_blueprint(server, root):
    assert sorted(listed(server[0])) == BLUEPRINTS
    assert sorted(path.stem for path in (root / "subgraphs").glob("*.json")) == BLUEPRINTS


@pytest.mark.parametrize("title", BLUEPRINTS)
def test_a_blueprint_runs_in_a_graph(server, title):
    address, output = server
    blueprint = json.loads(fetch(f"{address}/global_subgraphs/{listed(address)[title]}")["data"])
    prompt = flatten(surrounded(blueprint), fetch(f"{address}/object_info"))
    before = set(output.rglob("*.mp4"))
    run_graph(address, prompt)
    (file,) = set(output.rglob("*.mp4")) - before
    clip = read_mp4(file)
    assert len(clip.frames) == 32
    assert abs(clip.waveform.shape[1] / clip.sample_rate - 2.0) <= 0.07
