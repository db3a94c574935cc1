"""Write the example graphs: ``python docs/make_workflows.py ADDRESS [NAME ...]``.

Reads ``workflows/api/NAME.json`` and ``workflows/layout.toml``, lays the graph out in the browser of the ComfyUI at ADDRESS, and
writes ``workflows/NAME.json``. A graph keeps its distances in both front ends, because each node receives the larger of its
two heights. Runs under Python 3.11 or newer with playwright and chromium.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomllib
from playwright.sync_api import Page, sync_playwright

WORKFLOWS = Path(__file__).parents[1] / "workflows"
LAYOUT = tomllib.loads((WORKFLOWS / "layout.toml").read_text())
TITLE, GAP, PADDING, HEADER = 30, 40, 20, 50  # pixels: title bar of a node, distances, border and title of a group
FOOTER = 40  # pixels: bar that Nodes 2.0 adds below a node whose file is missing; smaller than GAP
NARROWEST, NOTE = 300, (360, 420)  # pixels: width of a node; width and height of the note
LARGE = {  # pixels [width, height] of nodes with text or previews, which the front end does not size by content
    "CLIPTextEncode": (400, 180),
    "DuetEditPlan": (480, 640),
    "DuetEncodePrompt": (400, 300),
    "DuetPlanner": (400, 320),
    "DuetPriorSampler": (400, 240),
    "DuetTimedPrompt": (480, 900),
    "DuetTimelinePrompt": (480, 680),
    "LoadImage": (300, 340),
    "LoadVideo": (300, 340),
    "MiniMaxH3ImageToVideo": (420, 380),
    "PreviewAny": (400, 160),
    "PreviewImage": (440, 300),
    "PrimitiveStringMultiline": (400, 140),
    "SaveVideo": (360, 440),
}
PREVIEWS = {"LoadVideo": 140}  # pixels left free below, for a preview that enlarges the node once its file is loaded
REPORTS = {"DuetSyncMeter": 220, "DuetCompareTakes": 240, "DuetPlanReport": 240}  # pixels for text shown after a run
VUE = "Comfy.VueNodes.Enabled"
SIZES = """() => window.app.graph._nodes.map(n => [n.id, n.type, ...n.computeSize()])"""
HEIGHTS = """() => [...document.querySelectorAll('[data-node-id]')].map(e => [e.dataset.nodeId, e.offsetHeight])"""
ARRANGE = """([nodes, groups, note]) => {
  const graph = window.app.graph;
  for (const [id, x, y, width, height] of nodes) {
    const node = graph._nodes.find((n) => String(n.id) === id);
    node.pos = [x, y];
    node.setSize([width, height]);
    for (const w of node.widgets ?? []) if (w.name === 'control_after_generate') w.value = 'fixed';
  }
  for (const [title, x, y, width, height] of groups) {
    const group = new LiteGraph.LGraphGroup(title);
    group.pos = [x, y];
    group.size = [width, height];
    graph.add(group);
  }
  const box = LiteGraph.createNode('MarkdownNote');
  graph.add(box);
  box.title = 'About this graph';
  box.pos = note.pos;
  box.setSize(note.size);
  box.widgets[0].value = note.text;
  return graph.serialize();
}"""


@contextmanager
def browser_page(address: str) -> Iterator[Page]:
    """A page with the front end of the ComfyUI at ``address``."""
    with sync_playwright() as play:
        arguments = ["--no-sandbox", "--use-gl=swiftshader", "--disable-background-networking"]
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": 1900, "height": 1000})
        page.goto(address, wait_until="domcontentloaded")
        page.wait_for_function("() => window.app?.graph && window.app.extensionManager?.setting", timeout=90_000)
        page.wait_for_timeout(4000)
        yield page
        browser.close()


def show_in(page: Page, vue: bool) -> None:
    """Switch between the classic front end and Nodes 2.0, and wait until the nodes are drawn."""
    page.evaluate("async ([name, on]) => await window.app.extensionManager.setting.set(name, on)", [VUE, vue])
    page.wait_for_timeout(1500)


def node_sizes(page: Page, api: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Node id -> width, height in the classic front end, and the larger of the heights in both (pixels, with title bar)."""
    page.evaluate("(api) => window.app.loadApiJson(api, 'graph')", api)
    page.wait_for_timeout(800)
    sizes, free = {}, {}
    for node, kind, width, height in page.evaluate(SIZES):
        least = (max(NARROWEST, round(width)), round(height) + REPORTS.get(kind, 0))
        sizes[str(node)], free[str(node)] = LARGE.get(kind, least), PREVIEWS.get(kind, 0)
    show_in(page, True)
    vue = dict(page.evaluate(HEIGHTS))
    show_in(page, False)
    return {node: (w, h, max(h + TITLE, vue[node]) + free[node]) for node, (w, h) in sizes.items()}


def arrange(columns: list[list[dict[str, Any]]], sizes: dict[str, tuple[float, float, float]]) -> tuple[list, list]:
    """Nodes as [id, x, y, width, height] and groups as [title, x, y, width, height], in pixels, right of the note."""
    nodes, groups = [], []
    left = NOTE[0] + GAP
    for column in columns:
        top, widest = 0, 0
        for group in column:
            x, bottom = left + PADDING, top
            for stack in group["nodes"]:
                y = top + HEADER
                for node in stack:
                    width, height, tallest = sizes[node]
                    nodes.append([node, x, y + TITLE, width, height])
                    y += tallest + GAP
                x, bottom = x + max(sizes[node][0] for node in stack) + GAP, max(bottom, y - GAP + FOOTER + PADDING)
            groups.append([group["title"], left, top, x - GAP + PADDING - left, bottom - top])
            top, widest = bottom + GAP, max(widest, groups[-1][3])
        left += widest + GAP
    return nodes, groups


def note_of(lines: list[str]) -> dict[str, Any]:
    """The note of a graph from its three lines."""
    heads = ("What it does", "What it needs", "What to change")
    text = "\n\n".join(f"**{head}:** {line}" for head, line in zip(heads, lines, strict=True))
    return {"text": text, "pos": [0, TITLE], "size": NOTE}


def without_nulls(value: Any) -> Any:
    """``value`` without null entries of dictionaries; an unconnected slot keeps its null link."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None or k in ("link", "links")}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def cleaned(graph: dict[str, Any]) -> dict[str, Any]:
    """The graph as it is stored: whole-number ids, no null entries, and the download link of each external file."""
    graph = without_nulls(graph)
    for node in graph["nodes"]:
        node["id"] = int(node["id"])
        values = [value for value in node.get("widgets_values", []) if isinstance(value, str)]
        if files := [{"name": name, **LAYOUT["models"][name]} for name in values if name in LAYOUT["models"]]:
            node["properties"]["models"] = files
    graph["nodes"].sort(key=lambda node: node["id"])
    graph["links"] = [[int(part) if str(part).isdigit() else part for part in link] for link in graph["links"]]
    return {**graph, "id": "00000000-0000-0000-0000-000000000000", "extra": {"ds": {"scale": 0.6, "offset": [60, 80]}}}


def main(address: str, *names: str) -> None:
    with browser_page(address) as page:
        for name in names or LAYOUT["graphs"]:
            described = LAYOUT["graphs"][name]
            sizes = node_sizes(page, json.loads((WORKFLOWS / "api" / f"{name}.json").read_text()))
            nodes, groups = arrange(described["columns"], sizes)
            graph = page.evaluate(ARRANGE, [nodes, groups, note_of(described["note"])])
            (WORKFLOWS / f"{name}.json").write_text(json.dumps(cleaned(graph), indent=1) + "\n")
            print(name, len(graph["nodes"]), "nodes")


if __name__ == "__main__":
    main(*sys.argv[1:])
