"""The real server: the example graph runs, its mp4 is complete, and the browser shows the graph. Slow; needs COMFYUI_PATH."""

import json
import os
import re
import shutil
import urllib.error
import urllib.request

import pytest
from comfy_server import DONE, fetch, run_graph, running_server, wait

from duet_av.pipelines.bench.readings import Probes, render
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.core.timeline import Timeline
from duet_av.pipelines.media.mp4 import read_mp4, write_mp4
from duet_av.pipelines.media.provenance import read_provenance
from duet_av.pipelines.media.sound import shift_sound
from duet_av.pipelines.world import irregular, make_scene

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: the server was not run"),
]
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def server(comfy, tmp_path_factory):
    """A separate server with only this pack and tiny JavisDiT files: its address and its output folder."""
    from javisdit_files import write_models

    base = tmp_path_factory.mktemp("comfy")
    write_models(base / "models", tmp_path_factory.mktemp("words"))
    with running_server(base) as address:
        yield address, base / "output"


@pytest.mark.parametrize(
    ("name", "clips"),
    [
        ("text_to_av", 1),
        ("guidance_compare", 4),
        ("plan_then_generate", 1),
        ("video_to_audio", 1),
        ("audio_to_video", 1),
        ("image_to_av", 1),
        ("cascade_bidirectional", 1),
        ("sync_lab", 2),
    ],
)
def test_an_example_runs_and_its_clips_are_complete(server, root, name, clips):
    address, output = server
    before = set(output.rglob("*.mp4"))
    graph = json.loads((root / "workflows" / "api" / f"{name}.json").read_text())
    run_graph(address, graph)
    made = set(output.rglob("*.mp4")) - before
    assert len(made) == clips
    for file in made:
        clip = read_mp4(file)
        assert (clip.frames.shape, clip.fps, clip.sample_rate) == ((32, 512, 512, 3), 16.0, 16_000)
        assert abs(clip.waveform.shape[1] / clip.sample_rate - 2.0) <= 1024 / 16_000


def test_the_prior_example_stacks_four_timelines(server, root):
    address, _ = server
    graph = json.loads((root / "workflows" / "api" / "prior_variations.json").read_text())
    for node in graph.values():
        node["inputs"] |= {"steps": 4} if node["class_type"] == "DuetSampler" else {}
    history = run_graph(address, graph)
    (shown,) = (out["images"] for out in history["outputs"].values() if "images" in out)
    with urllib.request.urlopen(f"{address}/view?{urllib.parse.urlencode(shown[0])}") as answer:
        picture = answer.read()
    width, height = (int.from_bytes(picture[k : k + 4], "big") for k in (16, 20))
    assert height > 1.5 * width


def test_any_clip_is_measured_and_corrected(server, root):
    address, output = server
    scene = irregular(make_scene(41, 6, stratum="single", seconds=8.0))
    frames, waveform = render([scene], ClipShape(seconds=8.0))
    late = shift_sound(waveform[0], samples=-2880)
    write_mp4(output.parent / "input" / "clip.mp4", Clip(frames[0].permute(0, 2, 3, 1), 16.0, late, 16_000))
    graph = json.loads((root / "workflows" / "api" / "measure_any_clip.json").read_text())
    history = run_graph(address, graph)
    before, after = (int(re.search(r"sound (\d+) ms", history["outputs"][node]["text"][0])[1]) for node in ("3", "8"))
    assert abs(before - 180) <= 62.5
    assert after <= 62.5
    (made,) = output.rglob("duet_in_sync*.mp4")
    provenance = read_provenance(made)["duet"]
    assert provenance["files"] == {"LoadVideo file": "clip.mp4"}
    assert "nothing was generated" in provenance["origin"]


SMALLER = {"DuetEmptyLatent": {"width": 70, "height": 48, "seconds": 0.7}, "DuetSampler": {"steps": 2}}


@pytest.mark.parametrize(
    ("name", "shape", "rate"),
    [("javisdit_v01_prior", (17, 48, 64, 3), 24.0), ("javisdit_v10", (17, 48, 80, 3), 16.0)],
)
def test_a_javisdit_example_runs_from_official_layouts_to_a_complete_clip(server, root, name, shape, rate):
    address, output = server
    before = set(output.rglob("*.mp4"))
    graph = json.loads((root / "workflows" / "api" / f"{name}.json").read_text())
    for node in graph.values():
        node["inputs"] |= SMALLER.get(node["class_type"], {})
    history = run_graph(address, graph)
    (file,) = set(output.rglob("*.mp4")) - before
    clip = read_mp4(file)
    assert (clip.frames.shape, clip.fps, clip.sample_rate) == (shape, rate, 16_000)
    assert abs(clip.waveform.shape[1] / clip.sample_rate - shape[0] / rate) <= 1024 / 16_000
    if name == "javisdit_v10":
        assert "neg_prompt" in history["outputs"]["3"]["text"][0]


@pytest.mark.parametrize("name", ["ltx2_crossmodal", "h3_crossmodal"])
def test_an_example_for_a_host_model_lacks_only_its_files(server, root, name):
    address, _ = server
    graph = json.loads((root / "workflows" / "api" / f"{name}.json").read_text())
    assert {node["class_type"] for node in graph.values()} <= set(fetch(f"{address}/object_info"))
    with pytest.raises(urllib.error.HTTPError) as refusal:
        fetch(f"{address}/prompt", {"prompt": graph})
    found = json.loads(refusal.value.read())["node_errors"].values()
    assert {e["type"] for node in found for e in node["errors"]} == {"value_not_in_list"}


def test_an_empty_prompt_is_rejected_before_anything_runs(server, root):
    address, _ = server
    graph = json.loads((root / "workflows" / "api" / "text_to_av.json").read_text())
    graph["2"]["inputs"]["video"] = " "
    with pytest.raises(urllib.error.HTTPError) as refusal:
        fetch(f"{address}/prompt", {"prompt": graph})
    assert "video prompt is empty" in refusal.value.read().decode()


def test_the_help_pages_are_served(server):
    address, _ = server
    with urllib.request.urlopen(f"{address}/extensions/duet/docs/DuetGuider.md", timeout=10) as page:
        assert page.read().decode().startswith("# Duet Guider")


def test_the_browser_shows_the_example_and_runs_it(server, tmp_path):
    address, output = server
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: the browser was not opened"
    )
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: the browser was not opened")
    before = set(output.rglob("*.mp4"))
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--use-gl=swiftshader", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1900, "height": 1000})
        page.goto(f"{address}/?template=text_to_av&source=duet", wait_until="domcontentloaded")
        page.wait_for_function("() => window.app?.graph?._nodes?.length === 9", timeout=90_000)
        unknown = page.evaluate(
            "() => window.app.graph._nodes.filter(n => n.has_errors || !n.constructor.nodeData).map(n => n.type)"
        )
        page.evaluate("async () => { await window.app.queuePrompt(0, 1) }")
        wait(lambda: set(output.rglob("*.mp4")) - before, DONE)
        page.screenshot(path=str(tmp_path / "graph.png"))
        browser.close()
    assert unknown == []


def pointer(page):
    """Page coordinates of (seconds, lane, row) in the lanes of 'Duet Edit Plan'."""
    box = page.locator(".duet-lanes canvas").bounding_box()
    width, height = page.evaluate(
        "() => { const c = document.querySelector('.duet-lanes canvas'); return [c.clientWidth, c.clientHeight]; }"
    )

    def at(seconds, lane, row):
        x = 62 + seconds / 2 * (width - 62 - 12)
        y = (lane + (row + 0.5) / 3) * height / 2
        return box["x"] + x * box["width"] / width, box["y"] + y * box["height"] / height

    return at


def test_dragging_an_event_in_the_lanes_changes_the_text_and_the_clip(server):
    address, output = server
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: the browser was not opened"
    )
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: the browser was not opened")
    before = set(output.rglob("duet_plan*.mp4"))
    edit = "window.app.graph._nodes.find((n) => n.type === 'DuetEditPlan').widgets.find((w) => w.name === 'timeline')"
    text, write = f"() => {edit}.value", f"(v) => {{ {edit}.value = v; {edit}.callback(v); }}"
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--use-gl=swiftshader", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1900, "height": 1000})
        page.goto(f"{address}/?template=plan_then_generate&source=duet", wait_until="domcontentloaded")
        page.wait_for_function("() => window.app?.graph?._nodes?.length === 14", timeout=90_000)
        page.evaluate("() => window.app.canvas.fitViewToSelectionAnimated()")
        page.wait_for_timeout(3000)
        page.evaluate(write, "0.30 bell left\n0.90 bell left")
        at = pointer(page)
        page.mouse.move(*at(0.9, 1, 0))
        page.mouse.down()
        page.mouse.move(*at(1.1, 1, 0))
        page.mouse.move(*at(1.4, 1, 0))
        page.mouse.up()
        dragged = page.evaluate(text)
        page.evaluate("async () => { await window.app.queuePrompt(0, 1) }")
        (file,) = wait(lambda: set(output.rglob("duet_plan*.mp4")) - before, DONE)
        browser.close()
    first, second = Timeline.read(dragged).events
    assert (first.when, second.where) == (0.3, "left")
    assert abs(second.when - 1.4) < 0.03
    clip = read_mp4(file)
    probes = Probes.load()
    heard = probes.audio.events(clip.waveform[None, :, :32_000].expand(-1, 2, -1))[0]["bell"]
    assert min(abs(t - second.when) for t in heard) < 0.125
    assert min(abs(t - 0.9) for t in heard) > 0.2
