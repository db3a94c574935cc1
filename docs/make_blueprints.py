"""Write the blueprints: ``python docs/make_blueprints.py``.

A blueprint is a node made of nodes, which ComfyUI offers in its node library. Each is made from an example graph, as
``workflows/blueprints.toml`` describes: the nodes inside, and the inputs and outputs outside. Reads
``workflows/NAME.json`` and writes ``subgraphs/TITLE.json``. Runs under Python 3.11 or newer.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).parents[1]
WORKFLOWS, SUBGRAPHS = ROOT / "workflows", ROOT / "subgraphs"
INPUT, OUTPUT = -10, -20  # node ids that stand for the frame of a subgraph
FRAME = (160, 100)  # pixels: distance of the frame's sides from the nodes; height of a side
Json = dict[str, Any]


def _links_within(graph: Json, inside: set[int]) -> list[Json]:
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [dict(zip(keys, link, strict=True)) for link in graph["links"]]
    return [link for link in links if {link["origin_id"], link["target_id"]} <= inside]


def _node(node: Json, kept: set[int]) -> Json:
    """A node of the example with its links inside the blueprint only."""
    inputs = [{**slot, "link": slot["link"] if slot.get("link") in kept else None} for slot in node.get("inputs", [])]
    outputs = [
        {**slot, "links": [link for link in slot.get("links") or [] if link in kept]}
        for slot in node.get("outputs", [])
    ]
    return {**node, "inputs": inputs, "outputs": outputs}


def _slot(name: str, kind: str, links: list[int], identity: str) -> Json:
    return {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)), "name": name, "type": kind, "linkIds": links}


def _outside(slot: Json, widgets: set[str]) -> Json:
    widget = {"widget": {"name": slot["name"]}} if slot["name"] in widgets else {}
    return {"name": slot["name"], "type": slot["type"], **widget, "link": None}


class Blueprint:
    """A blueprint while it is made: the nodes of an example graph, its links, and the slots of its frame."""

    def __init__(self, title: str, described: Json) -> None:
        self.title, self.described = title, described
        graph = json.loads((WORKFLOWS / f"{described['graph']}.json").read_text())
        inside = set(described["nodes"])
        self.links = _links_within(graph, inside)
        kept = {link["id"] for link in self.links}
        self.nodes = {node["id"]: _node(node, kept) for node in graph["nodes"] if node["id"] in inside}
        self.next_link = max(link[0] for link in graph["links"]) + 1
        self.widgets: set[str] = set()  # inputs outside that are set on the node itself
        self.identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"duet/{title}"))

    def _link(self, origin: tuple[int, int], target: tuple[int, int], kind: str) -> int:
        number, self.next_link = self.next_link, self.next_link + 1
        ends = zip(("origin_id", "origin_slot", "target_id", "target_slot"), (*origin, *target), strict=True)
        self.links.append({"id": number, **dict(ends), "type": kind})
        return number

    def inputs(self) -> list[Json]:
        """The inputs outside, each linked to the input slots inside that it feeds."""
        found = []
        for position, (name, targets) in enumerate(self.described["inputs"].items()):
            links, kind = [], ""
            for node, slot_name in targets:
                slots = self.nodes[node]["inputs"]
                slot = next(k for k, entry in enumerate(slots) if entry["name"] == slot_name)
                kind = slots[slot]["type"]
                slots[slot]["link"] = self._link((INPUT, position), (node, slot), kind)
                links.append(slots[slot]["link"])
                self.widgets |= {name} if "widget" in slots[slot] else set()
            found.append(_slot(name, kind, links, f"{self.identity}/in/{name}"))
        return found

    def outputs(self) -> list[Json]:
        """The outputs outside, each linked to the output slot inside that it comes from."""
        found = []
        for position, (name, (node, slot_name)) in enumerate(self.described["outputs"].items()):
            slots = self.nodes[node]["outputs"]
            slot = next(k for k, entry in enumerate(slots) if entry["name"] == slot_name)
            link = self._link((node, slot), (OUTPUT, position), slots[slot]["type"])
            slots[slot]["links"].append(link)
            found.append(_slot(name, slots[slot]["type"], [link], f"{self.identity}/out/{name}"))
        return found

    def _frame(self) -> tuple[Json, Json]:
        boxes = [(*node["pos"], *node["size"]) for node in self.nodes.values()]
        left, top = (min(box[k] for box in boxes) for k in (0, 1))
        right = max(box[0] + box[2] for box in boxes)
        sides = ((INPUT, left - FRAME[0] - FRAME[1]), (OUTPUT, right + FRAME[0]))
        first, second = ({"id": side, "bounding": [x, top, FRAME[1], FRAME[1]]} for side, x in sides)
        return first, second

    def _inside(self, inputs: list[Json], outputs: list[Json]) -> Json:
        first, second = self._frame()
        state = {"lastGroupId": 0, "lastNodeId": max(self.nodes), "lastLinkId": self.next_link - 1, "lastRerouteId": 0}
        return {
            "id": self.identity,
            "version": 1,
            "state": state,
            "revision": 0,
            "config": {},
            "name": self.title,
            "inputNode": first,
            "outputNode": second,
            "inputs": inputs,
            "outputs": outputs,
            "widgets": [],
            "nodes": list(self.nodes.values()),
            "groups": [],
            "links": self.links,
            "extra": {},
            "category": "duet",
            "description": self.described["description"],
        }

    def json(self) -> Json:
        """The file: a graph with one node, and what it is made of."""
        inputs, outputs = self.inputs(), self.outputs()
        number = max(self.nodes) + 1  # the front end renumbers the nodes inside if one of them has the same id
        node = {
            "id": number,
            "type": self.identity,
            "pos": [0, 0],
            "size": [400, 300],
            "flags": {},
            "order": 0,
            "mode": 0,
            "inputs": [_outside(slot, self.widgets) for slot in inputs],
            "outputs": [{"name": slot["name"], "type": slot["type"], "links": []} for slot in outputs],
            "title": self.title,
            "properties": {},
            "widgets_values": [],
        }
        return {
            "id": str(uuid.UUID(int=0)),
            "revision": 0,
            "last_node_id": number,
            "last_link_id": 0,
            "nodes": [node],
            "links": [],
            "version": 0.4,
            "definitions": {"subgraphs": [self._inside(inputs, outputs)]},
            "extra": {},
        }


def blueprints() -> dict[str, str]:
    """Title -> text of the file of every blueprint."""
    described = tomllib.loads((WORKFLOWS / "blueprints.toml").read_text())
    return {title: json.dumps(Blueprint(title, each).json(), indent=1) + "\n" for title, each in described.items()}


def main() -> None:
    SUBGRAPHS.mkdir(exist_ok=True)
    for title, text in blueprints().items():
        (SUBGRAPHS / f"{title}.json").write_text(text)


if __name__ == "__main__":
    main()
