"""The official workflow templates in the server's form (subgraphs opened, reroutes and bypassed nodes removed), reduced to a small size.

The JSON files come from the package ``comfyui-workflow-templates-json``, which ComfyUI installs. Nothing of it is in this repository.
"""

import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3")
NEVER, BYPASS = 2, 4  # LiteGraph's modes of a node
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = -10, -20  # node ids that stand for the frame of a subgraph

LTX, H3 = "ltx2", "h3"
WIDTH, HEIGHT, SECONDS = 128, 64, 1
SMALLER = {1280: WIDTH, 720: HEIGHT, 121: 25, 5: SECONDS, 9: SECONDS, 20: 2, 8: 2, 6: 2}
SIGMAS = {True: "1.0, 0.725, 0.0", False: "0.85, 0.4219, 0.0"}
LOADERS = ("LTXAVTextEncoderLoader", "CLIPLoader")


def read_template(name: str) -> dict:
    """The graph of an official template."""
    package = resources.files("comfyui_workflow_templates_json") / "templates"
    return json.loads((package / f"{name}.json").read_text(encoding="utf-8"))


@dataclass
class _Level:
    """One graph: the top one or the inside of a subgraph node, whose inputs are links or values of the level above."""

    nodes: dict[int, dict]
    links: dict[int, tuple[int, int]]
    prefix: str = ""
    inputs: list[Any] = field(default_factory=list)


def flatten(template: dict, info: dict) -> dict[str, dict]:
    """The API form of ``template``; ``info`` is the server's ``/object_info``. Node ids are those of the template, a subgraph's are
    ``instance:inner`` as the front end writes them."""
    definitions = {graph["id"]: graph for graph in template.get("definitions", {}).get("subgraphs", [])}
    links = {link[0]: (link[1], link[2]) for link in template["links"]}
    flattener = _Flattener(info, definitions)
    flattener.open(_Level({node["id"]: node for node in template["nodes"]}, links))
    return flattener.prompt


class _Flattener:
    def __init__(self, info: dict, definitions: dict[str, dict]):
        self.info, self.definitions, self.prompt = info, definitions, {}
        self.inner: dict[str, tuple[_Level, dict]] = {}

    def open(self, level: _Level) -> None:
        for node in level.nodes.values():
            if node["type"] in self.definitions:
                self._open_subgraph(level, node)
        for node in level.nodes.values():
            if node["type"] in self.info and node.get("mode", 0) not in (NEVER, BYPASS):
                self.prompt[f"{level.prefix}{node['id']}"] = self._entry(level, node)

    def _open_subgraph(self, level: _Level, node: dict) -> None:
        graph = self.definitions[node["type"]]
        linked = {slot["name"]: slot.get("link") for slot in node["inputs"]}
        values = iter(node.get("widgets_values") or [])
        inputs = []
        for slot in graph["inputs"]:
            value = next(values, None) if slot["type"] in WIDGETS else None
            link = linked.get(slot["name"])
            inputs.append(value if link is None else self._source(level, link))
        links = {link["id"]: (link["origin_id"], link["origin_slot"]) for link in graph["links"]}
        nodes = {inside["id"]: inside for inside in graph["nodes"]}
        within = _Level(nodes, links, f"{level.prefix}{node['id']}:", inputs)
        self.inner[f"{level.prefix}{node['id']}"] = (within, graph)
        self.open(within)

    def _source(self, level: _Level, link: int) -> Any:
        """What feeds a link: ``[node id, output]``, a value, or None if nothing does."""
        origin, slot = level.links[link]
        if origin == SUBGRAPH_INPUT:
            return level.inputs[slot]
        node = level.nodes[origin]
        if node["type"] in self.definitions:
            within, graph = self.inner[f"{level.prefix}{origin}"]
            (inside,) = graph["outputs"][slot]["linkIds"][:1]
            return self._source(within, inside)
        if node["type"] == "Reroute" or node.get("mode", 0) == BYPASS:
            kind = node["outputs"][slot]["type"]
            through = (i["link"] for i in node["inputs"] if i.get("link") and i["type"] in (kind, "*"))
            return next((self._source(level, link) for link in through), None)
        return [f"{level.prefix}{origin}", slot]

    def _entry(self, level: _Level, node: dict) -> dict:
        inputs = dict(self._widgets(node))
        for slot in node.get("inputs", []):
            if slot.get("link") is not None and (source := self._source(level, slot["link"])) is not None:
                inputs[slot["name"]] = source
        return {"class_type": node["type"], "inputs": inputs}

    def _widgets(self, node: dict):
        values = node.get("widgets_values") or []
        if isinstance(values, dict):
            yield from values.items()
            return
        yield from _named(self.info[node["type"]]["input"], iter(values), "")


def _named(groups: dict, values, prefix: str):
    """Names and values of a node's widgets, in the order in which a graph stores them."""
    for group in ("required", "optional"):
        for name, (kind, *options) in groups.get(group, {}).items():
            options = options[0] if options else {}
            widget = isinstance(kind, list) or kind in WIDGETS or "widgetType" in options
            if not widget or options.get("forceInput"):
                continue
            try:
                value = next(values)
            except StopIteration:
                return
            yield prefix + name, value
            if options.get("control_after_generate"):
                next(values, None)
            if kind == "COMFY_DYNAMICCOMBO_V3":
                chosen = next(option for option in options["options"] if option["key"] == value)
                yield from _named(chosen["inputs"], values, f"{prefix}{name}.")


def sources(graph, name):
    """Ids and input names that are linked to node ``name``."""
    return [
        (key, slot)
        for key, node in graph.items()
        for slot, value in node["inputs"].items()
        if isinstance(value, list) and value[0] == name
    ]


def relink(graph, name, source):
    """Every link from node ``name`` comes from ``source``; the node is removed."""
    for key, slot in sources(graph, name):
        graph[key]["inputs"][slot] = source(graph[key]["inputs"][slot][1])
    del graph[name]


def of_class(graph, *names):
    return [key for key, node in graph.items() if node["class_type"] in names]


def reduced(graph, family):
    """``graph`` with a stand-in text encoder, at a small size with few steps, without nodes that do not lead to the video."""
    graph["text"] = {"class_type": "StandInTextEncoder", "inputs": {"family": family}}
    for key in of_class(graph, "TextGenerateLTX2Prompt"):  # a language model that rewrites the prompt
        prompt = graph[key]["inputs"]["prompt"]
        relink(graph, key, lambda _, prompt=prompt: prompt)
    for key in of_class(graph, "LoraLoader"):  # the language model's LoRA
        model = graph[key]["inputs"]["model"]
        relink(graph, key, lambda slot, model=model: (model, ["text", 0])[slot])
    for key in of_class(graph, *LOADERS):
        relink(graph, key, lambda _: ["text", 0])
    for key in of_class(graph, "ResolutionSelector"):
        relink(graph, key, lambda slot: (WIDTH, HEIGHT)[slot])
    for node in graph.values():
        inputs = node["inputs"]
        if node["class_type"] in ("PrimitiveInt", "PrimitiveFloat", "EmptyImage", "MiniMaxH3ImageToVideo", "SolidMask"):
            inputs |= {k: SMALLER.get(v, v) for k, v in inputs.items() if isinstance(v, int | float)}
        if node["class_type"] == "ManualSigmas":
            inputs["sigmas"] = SIGMAS[inputs["sigmas"].startswith("1.")]
        if "longer_edge" in inputs:
            inputs["longer_edge"] = WIDTH
        if "resize_type.longer_size" in inputs:
            inputs["resize_type.longer_size"] = WIDTH
    return reaching(graph, of_class(graph, "SaveVideo"))


def reaching(graph, ends):
    """The nodes of ``graph`` that ``ends`` depend on."""
    kept, queue = {}, list(ends)
    while queue:
        key = queue.pop()
        if key not in kept:
            kept[key] = graph[key]
            queue += [value[0] for value in graph[key]["inputs"].values() if isinstance(value, list)]
    return kept
