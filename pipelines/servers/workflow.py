"""Workflows in ComfyUI's API format: read, checked, and given another noise seed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.documents import parse_json, printable, read_text

Graph = dict[str, dict[str, Any]]
SEEDS = ("noise_seed", "seed")  # names of seed inputs; the first is used for noise only
LATENTS = ("latent_image", "latent", "samples")  # a node that reads one of these and a 'seed' is a sampler
SAVERS = ("SaveVideo", "SaveWEBM", "VHS_VideoCombine")  # nodes that are known to save a clip
LARGEST = 2**64  # seeds are below it
EXPORT = "In ComfyUI, choose File > Export (API)."


@dataclass(frozen=True)
class Workflow:
    """A graph and the inputs that take the seed, as (node, input)."""

    graph: Graph
    seeds: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, path: Path, *, seed_nodes: Sequence[str] = ()) -> Workflow:
        """The workflow in a file. The seed is that of ``seed_nodes``, or by default of every node that draws noise.

        Raises:
            ValueError: not a workflow in the API format, or without an input for the seed.
        """
        graph = _checked(parse_json(read_text(path), path), path)
        for node in seed_nodes:
            if node not in graph:
                raise ValueError(f"--seed-node is {node}, and {path} has no node of this id. {_listed(graph)}")
        seeds = tuple(_named_seed(graph, node) for node in seed_nodes) or tuple(_noise_seeds(graph))
        if not seeds:
            raise ValueError(
                f"{path} has no sampler with a noise seed, so that every clip would be the same. Name the node whose seed is varied "
                f"with --seed-node. {_listed(graph)}"
            )
        return cls(graph, seeds)

    def with_seed(self, seed: int) -> Graph:
        """A copy of the graph in which the first seed input is ``seed``; further ones keep their distance from the first."""
        graph = copy.deepcopy(self.graph)
        first = self.graph[self.seeds[0][0]]["inputs"][self.seeds[0][1]]
        for node, name in self.seeds:
            inputs = graph[node]["inputs"]
            inputs[name] = (seed + inputs[name] - first) % LARGEST
        return graph

    @property
    def savers(self) -> list[str]:
        """The nodes that are known to save a clip."""
        return [node for node, part in self.graph.items() if part["class_type"] in SAVERS]


def _checked(found: Any, path: Path) -> Graph:
    if isinstance(found, dict) and isinstance(found.get("nodes"), list):
        raise ValueError(f"{path} is a workflow in the editor's format; servers need the API format. {EXPORT}")
    good = isinstance(found, dict) and all(
        isinstance(part, dict) and isinstance(part.get("class_type"), str) and isinstance(part.get("inputs"), dict)
        for part in found.values()
    )
    if not good or not found:
        raise ValueError(
            f"{path} is not a workflow in ComfyUI's API format (nodes with class_type and inputs). {EXPORT}"
        )
    return found


def _noise_seeds(graph: Graph) -> list[tuple[str, str]]:
    """The seed inputs of the nodes that draw noise; where a seed is connected, that of the node it comes from."""
    found: dict[tuple[str, str], None] = {}
    for node, part in graph.items():
        inputs = part["inputs"]
        if SEEDS[0] in inputs:
            name = SEEDS[0]
        elif SEEDS[1] in inputs and any(latent in inputs for latent in LATENTS):
            name = SEEDS[1]
        else:
            continue
        found[(node, name) if _is_seed(inputs[name]) else _named_seed(graph, _source(graph, node, name))] = None
    return list(found)


def _named_seed(graph: Graph, node: str) -> tuple[str, str]:
    """The seed input of a node: one of ``SEEDS``, or its only integer."""
    inputs = graph[node]["inputs"]
    whole = [name for name, value in inputs.items() if _is_seed(value)]
    names = [name for name in SEEDS if name in whole] or whole
    if len(names) != 1:
        raise ValueError(
            f"Node {printable(node)} ({printable(graph[node]['class_type'])}) has {len(names)} inputs that could be the seed; it must "
            "have one integer 'seed' or 'noise_seed'. Name another node with --seed-node."
        )
    return node, names[0]


def _source(graph: Graph, node: str, name: str) -> str:
    """The node to which an input is connected."""
    link = graph[node]["inputs"][name]
    if not (isinstance(link, list) and len(link) == 2 and link[0] in graph):
        raise ValueError(
            f"Input {name} of node {printable(node)} is {printable(link)[:60]}; it must be a seed from 0 to 2^64 - 1, or a connection. "
            "Export the workflow again."
        )
    return link[0]


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _listed(graph: Graph) -> str:
    """The nodes that have a seed, for errors."""
    found = [
        f"{node} ({part['class_type']})"
        for node, part in graph.items()
        if any(name in part["inputs"] for name in SEEDS)
    ]
    return f"Nodes with a seed: {printable(', '.join(found[:20])) or 'none'}."
