"""The blueprints: they are what the script makes of the example graphs, and are complete."""

import json
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("tomllib, which the script needs, is in Python 3.11 and newer", allow_module_level=True)


@pytest.fixture(scope="module")
def made():
    sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
    import make_blueprints

    return make_blueprints.blueprints()


def test_the_blueprints_match_the_example_graphs(root, made):
    written = {path.stem: path.read_text() for path in (root / "subgraphs").glob("*.json")}
    assert written == made, "run python docs/make_blueprints.py"


def test_every_link_of_a_blueprint_joins_slots_of_one_type(made):
    for text in made.values():
        (inside,) = json.loads(text)["definitions"]["subgraphs"]
        nodes = {node["id"]: node for node in inside["nodes"]}
        frame = {-10: inside["inputs"], -20: inside["outputs"]}
        assert inside["links"]
        for link in inside["links"]:
            origin = frame.get(link["origin_id"]) or nodes[link["origin_id"]]["outputs"]
            target = frame.get(link["target_id"]) or nodes[link["target_id"]]["inputs"]
            assert origin[link["origin_slot"]]["type"] == link["type"]
            assert target[link["target_slot"]]["type"] in (link["type"], "*")


def test_a_required_socket_of_a_blueprint_is_connected(made):
    """Sockets without a widget are linked inside or are inputs of the blueprint, unless they are optional (shape 7)."""
    for title, text in made.items():
        (inside,) = json.loads(text)["definitions"]["subgraphs"]
        for node in inside["nodes"]:
            bare = [s for s in node["inputs"] if "widget" not in s and s.get("shape") != 7 and s["link"] is None]
            assert bare == [], f"{title}: {node['type']}"
