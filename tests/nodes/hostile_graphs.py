"""Workflow JSON as no editor writes it: graphs of the pocket model in which inputs of Duet's nodes are replaced or missing."""

import math

from comfy_server import ended, example, queued

ESCAPES = ("../../escaped", "/escaped", "..\\..\\escaped", "a/../../../escaped", "~/escaped", "%2e%2e/escaped")
TEXTS = (
    "",
    "nul\0byte",
    "x" * 5000,
    "\x1b[2J\x07",
    "\u202e\U0001f941",
    "0.5 both: a\n" * 20_000,
    "9" * 400,
    "{" * 5000,
)
NUMBERS = (True, -1, 0, 0.5, 10**9, 2**63, 10**400, -(2**31) - 1, 1e308, math.nan, math.inf, -math.inf)
SHAPES = (None, [], {}, [[]], {"__value__": 3}, {"a": {"a": {"a": []}}}, [1, 2, 3], ["1"], [None, None])
LINKS = (["1", 0], ["1", 99], ["1", -1], ["1", "x"], ["missing", 0], ["6", 0], [1, 0], ["1", 0.5], ["1", None])
HOSTILE = (*ESCAPES, *TEXTS, *NUMBERS, *SHAPES, *LINKS)
SMALL = {"DuetSampler": {"steps": 1}, "DuetMux": {"enlarge": 1}}


def with_plan_files(escaped="duet/plan"):
    """A graph that saves a plan under the prefix ``escaped`` and loads the file of that name."""
    graph = example("plan_then_generate", **SMALL)
    (planner,) = [name for name, node in graph.items() if node["class_type"] == "DuetLoadPlanner"]
    (plan,) = [name for name, node in graph.items() if node["class_type"] == "DuetPlanner"]
    graph["90"] = {"class_type": "DuetSavePlan", "inputs": {"plan": [plan, 0], "filename_prefix": escaped}}
    graph["91"] = {"class_type": "DuetLoadPlan", "inputs": {"planner": [planner, 1], "file": escaped}}
    graph["92"] = {"class_type": "DuetSavePlan", "inputs": {"plan": ["91", 0], "filename_prefix": "duet/loaded"}}
    return graph


def hostile(rng):
    """A graph with inputs of one or two of Duet's nodes replaced or removed; what was done to it; and whether each of them is a
    setting, not a connection."""
    graph = rng.choice((with_plan_files, *EXAMPLES))()
    nodes = [node for node in graph.values() if node["class_type"].startswith("Duet") and node["inputs"]]
    done, settings = [], True
    for node in rng.sample(nodes, rng.choice((1, 1, 2))):
        name, value = rng.choice(sorted(node["inputs"])), rng.choice(HOSTILE)
        settings &= not isinstance(node["inputs"][name], list)
        if rng.random() < 0.1:
            del node["inputs"][name]
            done.append(f"{node['class_type']}.{name} is missing")
        else:
            node["inputs"][name] = value
            done.append(f"{node['class_type']}.{name} = {value!r:.100}")
    return graph, done, settings


EXAMPLES = tuple(
    lambda name=name: example(name, **SMALL)
    for name in ("text_to_av", "prior_variations", "guidance_compare", "plan_then_generate")
)


def try_hostile(address, graph, *, settings):
    """How a graph ended: 'refused' before it ran, 'success', or the type of the exception of the node that failed.

    Raises:
        AssertionError: the server did not answer as it should; or, where only ``settings`` are hostile, this pack failed with
            anything but a ValueError, which is how it refuses. (ComfyUI lets a number pass where a MODEL is to be connected.)
    """
    prompt = queued(address, graph)
    if prompt is None:
        return "refused"
    status, kind, found = ended(address, prompt)
    if status == "success":
        return status
    (error,) = found
    ours = settings and error["node_type"].startswith("Duet")
    assert kind == "ValueError" or not ours, (error["exception_message"], error["traceback"])
    return kind
