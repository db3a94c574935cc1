"""Workflows for servers: which inputs are the noise seed, and what is refused."""

import json

import pytest

from duet_av.pipelines.servers.workflow import Workflow

SAMPLER = {"class_type": "KSampler", "inputs": {"seed": ["9", 0], "latent_image": ["5", 0], "steps": 8}}


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("text_to_av", [("6", "seed")]),
        ("plan_then_generate", ["DuetSampler"]),
        ("prior_variations", ["DuetSampler"] * 4),
        ("ltx23_t2v", [("17", "noise_seed"), ("25", "noise_seed")]),
        ("h3_t2v", ["RandomNoise"]),
    ],
)
def test_the_seeds_of_the_examples_are_those_of_their_noise(root, name, seeds):
    workflow = Workflow.read(root / "workflows" / "api" / f"{name}.json")
    found = [workflow.graph[node]["class_type"] for node, _ in workflow.seeds]
    assert seeds in (found, list(workflow.seeds))


def test_further_seeds_keep_their_distance_and_the_graph_stays(workflow):
    graph = json.loads(workflow.read_text())
    graph["7"] = {"class_type": "RandomNoise", "inputs": {"noise_seed": 39}}
    workflow.write_text(json.dumps(graph))
    found = Workflow.read(workflow)
    seeded = found.with_seed(0)
    assert (seeded["2"]["inputs"]["noise_seed"], seeded["7"]["inputs"]["noise_seed"]) == (0, 2**64 - 1)
    assert found.graph == graph


def test_a_connected_seed_is_followed_and_a_named_node_wins(workflow):
    graph = {"5": SAMPLER, "9": {"class_type": "PrimitiveInt", "inputs": {"value": 3}}}
    graph["p"] = {"class_type": "DuetPlanner", "inputs": {"seed": 1, "steps": 4}}
    workflow.write_text(json.dumps(graph))
    assert Workflow.read(workflow).seeds == (("9", "value"),)
    assert Workflow.read(workflow, seed_nodes=["p"]).seeds == (("p", "seed"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"nodes": [], "links": []}', r"editor's format.*Export \(API\)"),
        ("[1]", "not a workflow in ComfyUI's API format"),
        ("{}", "not a workflow in ComfyUI's API format"),
        ('{"1": {"class_type": "X"}}', "not a workflow in ComfyUI's API format"),
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        (
            '{"1": {"class_type": "X", "inputs": {"seed": 1}}}',
            r"no sampler with a noise seed.*Nodes with a seed: 1 \(X\)",
        ),
        ('{"1": {"class_type": "X", "inputs": {"noise_seed": -1}}}', "Input noise_seed of node 1 is -1"),
        ('{"1": {"class_type": "X", "inputs": {"noise_seed": ["8", 0]}}}', "Input noise_seed of node 1"),
        ('{"1": {"class_type": "X", "inputs": {"noise_seed": ["1", 0]}}}', "Node 1 .X. has 0 inputs that could be the"),
    ],
)
def test_what_is_no_workflow_is_refused_with_the_reason(workflow, content, message):
    workflow.write_text(content)
    with pytest.raises(ValueError, match=message):
        Workflow.read(workflow)


def test_an_unknown_seed_node_is_refused(workflow):
    with pytest.raises(ValueError, match=r"--seed-node is 8, and .* has no node of this id"):
        Workflow.read(workflow, seed_nodes=["8"])
