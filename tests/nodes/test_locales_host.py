"""The translations on a real server: the English texts are those of the schemas, and the host serves every language. Slow."""

import os
import sys
from pathlib import Path

import pytest
from comfy_server import fetch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: the server was not run"),
]


@pytest.fixture(scope="module")
def locales():
    sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
    import make_locales

    return make_locales


def test_the_english_texts_are_those_of_the_schemas(server, locales):
    written = locales.english(fetch(f"{server[0]}/object_info"))
    remedy = "run python docs/make_locales.py ADDRESS and translate what it prints"
    assert locales.read("en") == written, remedy


@pytest.mark.parametrize("language", ["en", "zh", "ja", "ko"])
def test_the_host_serves_the_texts_of_a_language(server, locales, language):
    served = fetch(f"{server[0]}/i18n")[language]["nodeDefs"]
    written = locales.read(language)
    assert {node: served[node] for node in written} == written
