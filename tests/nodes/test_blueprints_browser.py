"""The blueprints on a real server and in the browser: the host lists them, and each runs with what it needs outside. Slow."""

import json

import pytest
from browser_page import BROWSER
from comfy_server import fetch, run_graph

from duet_av.pipelines.media.mp4 import read_mp4

pytestmark = BROWSER
LOAD = "(graph) => window.app.loadGraphData(graph, true, true, null)"
# Nodes around the blueprint: its video is loaded if it takes one, and saved; then the server's form of the graph.
SURROUND = """async () => {
  const { graph } = window.app;
  const [node] = graph._nodes;
  const add = (type) => { const made = LiteGraph.createNode(type); graph.add(made); return made; };
  const slot = node.inputs.findIndex((input) => input.name === "video" && input.type === "VIDEO");
  if (slot >= 0) {
    const load = add("LoadVideo");
    load.widgets.find((widget) => widget.name === "file").value = "duet_drum.mp4";
    load.connect(0, node, slot);
  }
  node.connect(node.outputs.findIndex((output) => output.name === "video"), add("SaveVideo"), 0);
  return (await window.app.graphToPrompt()).output;
}"""
BLUEPRINTS = [
    "Measure and Repair Sync (Duet)",
    "Plan and Drag (Duet pocket)",
    "Text to Clip with Sound (Duet pocket)",
    "Video to Sound (Duet pocket)",
]


def listed(address):
    entries = fetch(f"{address}/global_subgraphs")
    return {e["name"]: key for key, e in entries.items() if e["info"]["node_pack"] == "custom_nodes.duet"}


def test_the_host_lists_every_blueprint(server, root):
    assert sorted(listed(server[0])) == BLUEPRINTS
    assert sorted(path.stem for path in (root / "subgraphs").glob("*.json")) == BLUEPRINTS


@pytest.mark.parametrize("title", BLUEPRINTS)
def test_a_blueprint_runs_in_a_graph(server, open_page, title):
    address, output = server
    blueprint = json.loads(fetch(f"{address}/global_subgraphs/{listed(address)[title]}")["data"])
    page = open_page("")
    page.evaluate(LOAD, blueprint)
    page.wait_for_timeout(1500)
    prompt = page.evaluate(SURROUND)
    before = set(output.rglob("*.mp4"))
    run_graph(address, prompt)
    (file,) = set(output.rglob("*.mp4")) - before
    clip = read_mp4(file)
    assert len(clip.frames) == 32
    assert abs(clip.waveform.shape[1] / clip.sample_rate - 2.0) <= 0.07
