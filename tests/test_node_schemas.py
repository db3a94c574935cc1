"""The schemas of the nodes, read from their source, so that the host is not needed: everything a user sees has a text."""

import ast

import pytest

HELPERS = {
    "seed": 0,
    "temperature": 0,
    "steps": 0,
    "timeline": 0,
    "scale": 2,
    "seconds": 2,
}  # functions that create an input -> position of their tooltip


def modules(root):
    return {path.stem: ast.parse(path.read_text()) for path in sorted((root / "nodes").glob("*.py"))}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def fields(tree):
    """Calls of ``X.Input(...)`` and ``X.Output(...)``."""
    return [call for call in calls(tree) if getattr(call.func, "attr", "") in ("Input", "Output")]


def keywords(call):
    return {keyword.arg for keyword in call.keywords}


def test_every_input_and_output_has_a_tooltip(root):
    found = [(name, call) for name, tree in modules(root).items() for call in fields(tree)]
    assert len(found) > 100
    assert [f"{name}.py:{call.lineno}" for name, call in found if "tooltip" not in keywords(call)] == []


def test_helpers_that_create_an_input_receive_its_tooltip(root):
    bare = []
    for name, tree in modules(root).items():
        for call in calls(tree):
            helper = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if helper in HELPERS and len(call.args) <= HELPERS[helper]:
                bare.append(f"{name}.py:{call.lineno} {helper}")
    assert bare == []


def test_no_tooltip_is_empty(root):
    values = [
        k.value for tree in modules(root).values() for call in fields(tree) for k in call.keywords if k.arg == "tooltip"
    ]
    assert all(not isinstance(value, ast.Constant) or (value.value or "").strip() for value in values)


@pytest.mark.parametrize("keyword", ["description", "search_aliases", "display_name", "category"])
def test_every_schema_has_a_description_and_search_aliases(root, keyword):
    schemas = [
        (n, c) for n, tree in modules(root).items() for c in calls(tree) if getattr(c.func, "attr", "") == "Schema"
    ]
    assert len(schemas) > 20
    assert [f"{name}.py:{call.lineno}" for name, call in schemas if keyword not in keywords(call)] == []


FINDS = {
    "foley": {"DuetEncodeAV", "DuetFreezeStream", "DuetLoadAdapter"},
    "sfx": {"DuetEncodeAV", "DuetFreezeStream"},
    "sound effects": {"DuetEncodeAV", "DuetFreezeStream"},
    "video to audio": {"DuetEncodeAV", "DuetFreezeStream", "DuetLoadAdapter", "DuetMaskedAdapter"},
    "dub": {"DuetEncodeAV", "DuetFreezeStream", "DuetShiftAudio"},
    "talking": {"DuetCrossModalGuidance", "DuetStrategyCrossModal", "DuetSyncMeter"},
    "lip sync": {"DuetCrossModalGuidance", "DuetStrategyCrossModal", "DuetSyncMeter", "DuetShiftAudio"},
    "va-planner": {"DuetLoadPlanner", "DuetPlanner", "DuetEditPlan"},
    "hist-sypo": {"DuetLoadPrior", "DuetPriorSampler", "DuetApplyConditions"},
    "sava": {"DuetLoadAdapter", "DuetMaskedAdapter", "DuetApplyConditions"},
    "ucg": {"DuetStrategyUCG"},
}


def aliases(tree):
    """Node id -> search aliases: the list given as ``search_aliases`` or, for a strategy, to ``schema``."""
    constants = {
        n.targets[0].id: n.value for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.List)
    }
    found = {}
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
        for call in calls(node):
            lists = [k.value for k in call.keywords if k.arg == "search_aliases"]
            lists += call.args[3:4] if getattr(call.func, "id", "") == "schema" else []
            names = {n.id for value in lists for n in ast.walk(value) if isinstance(n, ast.Name)}
            lists += [constants[name] for name in names & constants.keys()]
            if lists:
                found[node.name] = {n.value for value in lists for n in ast.walk(value) if isinstance(n, ast.Constant)}
    return found


@pytest.mark.parametrize("query", FINDS)
def test_the_node_search_finds_nodes_by_common_terms(root, query):
    found = {node for tree in modules(root).values() for node, words in aliases(tree).items() if query in words}
    assert found == FINDS[query]
