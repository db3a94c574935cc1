"""The example graphs in the browser, in the classic front end and in Nodes 2.0. Slow; needs COMFYUI_PATH and playwright."""

import json
from itertools import combinations

import pytest
from browser_page import BROWSER, VUE
from comfy_server import DONE, fetch, wait

from duet_av.pipelines.bench.readings import Probes
from duet_av.pipelines.core.timeline import Timeline
from duet_av.pipelines.media.mp4 import read_mp4

TITLE = 30  # pixels, above a node's position
pytestmark = BROWSER
LOAD = "(graph) => window.app.loadGraphData(graph, true, true, null)"
DRAWN = "(count) => document.querySelectorAll('[data-node-id]').length === count"
# The minimum size of 'Load Video' includes its preview, so it cannot be compared with the height of the widgets.
# Nodes as [type, left, top, width, height] in pixels of the graph: in Nodes 2.0 as drawn, else with the title bar.
BOXES = """(vue) => {
  const { canvas, graph } = window.app;
  const { scale, offset } = canvas.ds;
  const drawn = (node) => {
    const box = document.querySelector(`[data-node-id="${node.id}"]`).getBoundingClientRect();
    return [box.x / scale - offset[0], box.y / scale - offset[1], box.width / scale, box.height / scale];
  };
  const classic = (node) => [node.pos[0], node.pos[1] - TITLE, node.size[0], node.size[1] + TITLE];
  return {
    nodes: graph._nodes.map((node) => [node.type, ...(vue ? drawn(node) : classic(node))]),
    groups: graph._groups.map((group) => [group.title, ...group.pos, ...group.size]),
    smaller: graph._nodes
      .filter((node) => !vue && node.type !== "LoadVideo" && node.size[1] < node.computeSize()[1])
      .map((node) => node.type),
  };
}""".replace("TITLE", str(TITLE))


def overlap(a, b):
    return all(a[k] < b[k] + b[k + 2] and b[k] < a[k] + a[k + 2] for k in (1, 2))


def within(node, group):
    return all(node[k] >= group[k] and node[k] + node[k + 2] <= group[k] + group[k + 2] for k in (1, 2))


def faults(boxes):
    """What is wrong with the positions of a graph."""
    nodes, groups = boxes["nodes"], boxes["groups"]
    pairs = [*combinations(nodes, 2), *combinations(groups, 2)]
    noted = [node for node in nodes if node[0] == "MarkdownNote"]
    pairs += [(note, group) for note in noted for group in groups]
    found = [f"{a[0]} overlaps {b[0]}" for a, b in pairs if overlap(a, b)]
    grouped = [node for node in nodes if node not in noted]
    found += [f"{node[0]} is not in one group" for node in grouped if sum(within(node, g) for g in groups) != 1]
    return found + [f"{kind} is too small for its widgets" for kind in boxes["smaller"]]


def test_overlaps_are_found():
    nodes = [["A", 0, 0, 100, 100], ["B", 90, 90, 50, 50], ["C", 300, 0, 50, 50]]
    found = faults({"nodes": nodes, "groups": [["G", -10, -10, 200, 200]], "smaller": ["A"]})
    assert found == ["A overlaps B", "C is not in one group", "A is too small for its widgets"]


@pytest.mark.parametrize("vue", [False, True], ids=["classic", "nodes 2.0"])
def test_nodes_and_groups_do_not_overlap(open_page, root, vue):
    page = open_page("")
    page.evaluate(VUE, vue)
    found = {}
    try:
        for path in sorted((root / "workflows").glob("*.json")):
            graph = json.loads(path.read_text())
            page.evaluate(LOAD, graph)
            page.wait_for_function(DRAWN if vue else "() => true", arg=len(graph["nodes"]))
            page.wait_for_timeout(700)
            boxes = page.evaluate(BOXES, vue)
            assert len(boxes["nodes"]) == len(graph["nodes"])
            found |= {path.stem: wrong} if (wrong := faults(boxes)) else {}
    finally:
        page.evaluate(VUE, False)
    assert found == {}


def saved(server, pattern, before):
    """The clips that were saved since ``before``, once the server has nothing left to do and the files are complete."""
    address, output = server

    def complete():
        queue = fetch(f"{address}/queue")
        return not any(queue.values()) and set(output.rglob(pattern)) - before

    return wait(complete, DONE)


def test_the_example_is_shown_and_runs(server, open_page):
    _, output = server
    before = set(output.rglob("*.mp4"))
    page = open_page("?template=text_to_av&source=duet", nodes=10)
    faulty = "(n) => n.has_errors || !(n.constructor.nodeData || n.isVirtualNode)"
    unknown = page.evaluate(f"() => window.app.graph._nodes.filter({faulty}).map((n) => n.type)")
    page.evaluate("async () => { await window.app.queuePrompt(0, 1) }")
    assert len(saved(server, "*.mp4", before)) == 1
    assert unknown == []


def test_opening_an_example_copies_its_sample_into_the_input_folder(server, open_page):
    _, output = server
    sample = output.parent / "input" / "duet_drum.mp4"
    content = sample.read_bytes()
    sample.unlink()
    page = open_page("?template=video_to_audio&source=duet", nodes=17)
    wait(sample.is_file, DONE)
    assert sample.read_bytes() == content
    load = "window.app.graph._nodes.find((n) => n.type === 'LoadVideo')"
    page.wait_for_function(f"() => {load}.widgets[0].options.values.includes('duet_drum.mp4')", timeout=30_000)
    assert page.evaluate(f"() => {load}.widgets[0].value") == "duet_drum.mp4"


def test_dragging_an_event_in_the_lanes_changes_the_text_and_the_clip(server, open_page):
    _, output = server
    before = set(output.rglob("duet_plan*.mp4"))
    node = "window.app.graph._nodes.find((n) => n.type === 'DuetEditPlan')"
    edit = f"{node}.widgets.find((w) => w.name === 'timeline')"
    text, write = f"() => {edit}.value", f"(v) => {{ {edit}.value = v; {edit}.callback?.(v); }}"
    page = open_page("?template=plan_then_generate&source=duet", nodes=15)
    # From far away the classic front end hides the contents of widgets.
    page.evaluate("(node) => { window.app.canvas.ds.scale = 1; window.app.canvas.centerOnNode(eval(node)); }", node)
    page.wait_for_timeout(1000)
    page.evaluate(write, "0.30 bell left\n0.90 bell left")
    page.wait_for_timeout(500)
    first, second = (page.locator(f'.mark[aria-label^="bell at {t} "]').first.bounding_box() for t in ("0.3", "0.9"))
    x, y = second["x"] + 6, second["y"] + 5
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y)
    page.mouse.move(x + (second["x"] - first["x"]) * 0.5 / 0.6, y)
    page.mouse.up()
    dragged = page.evaluate(text)
    page.evaluate("async () => { await window.app.queuePrompt(0, 1) }")
    (file,) = saved(server, "duet_plan*.mp4", before)
    first, second = Timeline.read(dragged).events
    assert (first.when, second.where) == (0.3, "left")
    assert abs(second.when - 1.4) < 0.03
    clip = read_mp4(file)
    probes = Probes.load()
    heard = probes.audio.events(clip.waveform[None, :, :32_000].expand(-1, 2, -1))[0]["bell"]
    assert min(abs(t - second.when) for t in heard) < 0.125
    assert min(abs(t - 0.9) for t in heard) > 0.2
