"""Step 7 of the tutorial: the official LTX-2.3 graph, changed in the browser as the page says, runs. Slow.

The weights are tiny random files in the official layout, the text encoder is a stand-in, and size and steps are reduced."""

import re
from pathlib import Path

import pytest
from browser_page import BROWSER
from comfy_server import run_graph, running_server
from templates import HEIGHT, LTX, WIDTH, of_class, reduced

from duet_av.pipelines.media.mp4 import read_mp4

pytestmark = BROWSER


@pytest.fixture(scope="module")
def models_server(comfy, tmp_path_factory):
    """A server with the stand-in nodes: its address and its folder."""
    base = tmp_path_factory.mktemp("tutorial")
    with running_server(base, Path(__file__).parent / "stand_in") as address:
        yield address, base


def test_the_templates_that_the_tutorial_names_exist(root):
    named = re.findall(r"template \*(?:duet / )?(\w+)\*", (root / "docs" / "tutorial.md").read_text())
    assert len(named) >= 5
    assert [name for name in named if not (root / "workflows" / f"{name}.json").is_file()] == []


def test_cross_modal_guidance_is_added_to_the_official_graph_by_hand(models_server, browser, root, monkeypatch):
    from official_files import shrink_h3_vaes, write_files

    monkeypatch.syspath_prepend(str(root / "docs"))
    from make_tutorial import insert_guidance

    address, base = models_server
    shrink_h3_vaes()
    page = browser.new_page(viewport={"width": 1900, "height": 1000})
    insert_guidance(page, address)
    prompt = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    page.close()
    added = of_class(prompt, "DuetCrossModalGuidance")
    guiders = of_class(prompt, "CFGGuider")
    assert len(guiders) == 2
    assert {prompt[guider]["inputs"]["model"][0] for guider in guiders} == set(added)
    graph = reduced(prompt, LTX)
    write_files(graph, LTX, base)
    run_graph(address, graph)
    (file,) = base.rglob("output/**/*.mp4")
    clip = read_mp4(file)
    assert (clip.fps, len(clip.frames), clip.frames.shape[1:3]) == (25.0, 25, (HEIGHT, WIDTH))
