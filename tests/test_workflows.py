"""The example graphs: their two forms agree, and everything they name exists."""

import ast
import json

import pytest
from PIL import Image

from duet_av.pipelines.models.pocket.text import WordTokenizer
from duet_av.pipelines.world import vocabulary

NOTE = "MarkdownNote"
WORKFLOWS = [
    "audio_to_video",
    "beats_to_events",
    "cascade_bidirectional",
    "extend_any_clip",
    "guidance_compare",
    "h3_crossmodal",
    "h3_ia2v",
    "h3_t2v",
    "h3_v2a",
    "image_audio_to_video",
    "image_to_av",
    "javisdit_v01_prior",
    "javisdit_v10",
    "ltx23_ia2v",
    "ltx23_t2v",
    "ltx23_v2a",
    "ltx25_t2v",
    "ltx2_crossmodal",
    "ltx2_methods",
    "measure_any_clip",
    "plan_then_generate",
    "pocket_ltx2",
    "prior_variations",
    "sync_lab",
    "text_to_av",
    "timed_events_h3",
    "timed_events_ltx2",
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


def ui(root, name):
    return json.loads((root / "workflows" / f"{name}.json").read_text())


def test_both_forms_hold_the_same_nodes_with_the_same_titles(root, name):
    """The note exists only in the graph; a node without a title in the API form has its default title."""
    shown = {str(node["id"]): node for node in ui(root, name)["nodes"] if node["type"] != NOTE}
    sent = api(root, name)
    assert {k: node["type"] for k, node in shown.items()} == {k: node["class_type"] for k, node in sent.items()}
    titles = {k: node["_meta"]["title"] for k, node in sent.items() if "_meta" in node}
    assert {k: shown[k].get("title") for k in titles} == titles


def test_both_forms_have_the_same_links(root, name):
    graph, sent = ui(root, name), api(root, name)
    names = {node["id"]: [slot["name"] for slot in node["inputs"]] for node in graph["nodes"] if node["type"] != NOTE}
    drawn = {(str(to), names[to][slot], str(source), out) for _, source, out, to, slot, _ in graph["links"]}
    links = {(k, i, *v) for k, node in sent.items() for i, v in node["inputs"].items() if isinstance(v, list)}
    assert drawn == links


def test_every_node_of_a_graph_has_its_own_title(root, name):
    titles = [node.get("title", node["type"]) for node in ui(root, name)["nodes"]]
    assert sorted(set(titles)) == sorted(titles)


def test_a_note_says_what_the_graph_does_needs_and_lets_you_change(root, name):
    (note,) = (node for node in ui(root, name)["nodes"] if node["type"] == NOTE)
    lines = note["widgets_values"][0].split("\n\n")
    assert [line.split(":**")[0] for line in lines] == ["**What it does", "**What it needs", "**What to change"]


def test_every_group_has_a_title(root, name):
    groups = [group["title"].strip() for group in ui(root, name)["groups"]]
    assert len(groups) >= 3
    assert all(groups)


def test_every_external_file_has_a_download_link_and_a_folder(root, name):
    for node in ui(root, name)["nodes"]:
        values = [value for value in node.get("widgets_values", []) if str(value).endswith(".safetensors")]
        files = node["properties"].get("models", [])
        assert sorted(file["name"] for file in files) == sorted(values)
        for file in files:
            assert file["url"].startswith("https://huggingface.co/")
            assert file["url"].endswith(f"/{file['name']}")
            assert file["directory"]


def test_the_picture_is_at_most_800_pixels_wide(root, name):
    with Image.open(root / "workflows" / f"{name}.jpg") as picture:
        assert picture.width <= 800


PROMPTS = ("PrimitiveStringMultiline", "DuetEncodePrompt", "CLIPTextEncode")
OTHER_MODELS = (
    "h3_crossmodal",
    "h3_ia2v",
    "h3_t2v",
    "h3_v2a",
    "javisdit_v01_prior",
    "javisdit_v10",
    "ltx23_ia2v",
    "ltx23_t2v",
    "ltx23_v2a",
    "ltx25_t2v",
    "ltx2_crossmodal",
    "measure_any_clip",
    "timed_events_h3",
    "timed_events_ltx2",
)  # graphs that use other models


@pytest.mark.parametrize("name", [name for name in WORKFLOWS if name not in OTHER_MODELS])
def test_the_pocket_vocabulary_covers_every_prompt(root, name):
    nodes = list(api(root, name).values())
    assert any(
        node["class_type"] == "DuetLoadAV" and node["inputs"]["model"] in ("auto", "pocket LTX-2") for node in nodes
    )
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
