"""The example graphs: their two forms agree, and everything they name exists."""

import ast
import json

import pytest

from duet_av.pipelines.models.pocket.text import WordTokenizer
from duet_av.pipelines.world import vocabulary

WORKFLOWS = [
    "audio_to_video",
    "cascade_bidirectional",
    "guidance_compare",
    "h3_crossmodal",
    "image_to_av",
    "javisdit_v01_prior",
    "javisdit_v10",
    "ltx2_crossmodal",
    "measure_any_clip",
    "plan_then_generate",
    "prior_variations",
    "sync_lab",
    "text_to_av",
    "video_to_audio",
]


@pytest.fixture(params=WORKFLOWS)
def name(request):
    return request.param


def api(root, name):
    return json.loads((root / "workflows" / "api" / f"{name}.json").read_text())


def node_ids(root):
    """The node ids of the pack, read from the class names, so that the host is not needed."""
    trees = [ast.parse(path.read_text()) for path in (root / "nodes").glob("*.py")]
    classes = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    return {c.name for c in classes if any(getattr(base, "attr", "") == "ComfyNode" for base in c.bases)}


def test_every_example_has_a_graph_a_picture_and_an_api_form(root):
    found = {path.stem for path in (root / "workflows").glob("*.json")}
    assert found == set(WORKFLOWS)
    assert found == {path.stem for path in (root / "workflows").glob("*.jpg")}
    assert found == {path.stem for path in (root / "workflows" / "api").glob("*.json")}


def test_both_forms_hold_the_same_nodes(root, name):
    graph = json.loads((root / "workflows" / f"{name}.json").read_text())
    assert sorted(node["type"] for node in graph["nodes"]) == sorted(
        node["class_type"] for node in api(root, name).values()
    )


PROMPTS = ("PrimitiveStringMultiline", "DuetEncodePrompt", "CLIPTextEncode")
OTHER_MODELS = (
    "h3_crossmodal",
    "javisdit_v01_prior",
    "javisdit_v10",
    "ltx2_crossmodal",
    "measure_any_clip",
)  # graphs that use other models


@pytest.mark.parametrize("name", [name for name in WORKFLOWS if name not in OTHER_MODELS])
def test_the_pocket_vocabulary_covers_every_prompt(root, name):
    nodes = list(api(root, name).values())
    assert any(node["class_type"] == "DuetLoadAV" and node["inputs"]["model"] == "auto" for node in nodes)
    graph = json.loads((root / "workflows" / f"{name}.json").read_text())
    in_api = [v for node in nodes if node["class_type"] in PROMPTS for v in node["inputs"].values()]
    in_graph = [v for node in graph["nodes"] if node["type"] in PROMPTS for v in node["widgets_values"]]
    texts = [text for text in (*in_api, *in_graph) if isinstance(text, str)]
    assert any(texts)
    assert [word for text in texts for word in WordTokenizer(vocabulary()).unknown(text)] == []


def test_every_duet_node_exists_and_every_link_has_a_source(root, name):
    graph = api(root, name)
    ours = {node["class_type"] for node in graph.values() if node["class_type"].startswith("Duet")}
    assert ours <= node_ids(root)
    links = [value for node in graph.values() for value in node["inputs"].values() if isinstance(value, list)]
    assert all(source in graph for source, _ in links)


def test_every_node_has_a_help_page(root):
    assert {path.stem for path in (root / "web" / "docs").glob("*.md")} == node_ids(root)
