"""The example graphs on a real server: they run, and their clips are complete. Slow; needs COMFYUI_PATH."""

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request

import pytest
from comfy_server import fetch, run_graph

from duet_av.pipelines.media.mp4 import read_mp4
from duet_av.pipelines.media.provenance import read_provenance
from duet_av.pipelines.models.ltx2 import pocket_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: the server was not run"),
]


def example(root, name, **smaller):
    """The API form of an example; ``smaller`` replaces inputs of the nodes of a class, to save time."""
    graph = json.loads((root / "workflows" / "api" / f"{name}.json").read_text())
    for node in graph.values():
        node["inputs"] |= smaller.get(node["class_type"], {})
    return graph


@pytest.mark.parametrize(
    ("name", "clips"),
    [
        ("text_to_av", 1),
        ("guidance_compare", 4),
        ("plan_then_generate", 1),
        ("beats_to_events", 1),
        ("video_to_audio", 1),
        ("audio_to_video", 1),
        ("image_to_av", 1),
        ("image_audio_to_video", 1),
        ("cascade_bidirectional", 1),
        ("sync_lab", 2),
        ("ltx2_methods", 1),
        pytest.param(
            "pocket_ltx2",
            1,
            marks=pytest.mark.skipif(
                not pocket_config.FILE.is_file(), reason=f"{pocket_config.FILE.name} is not installed"
            ),
        ),
    ],
)
def test_an_example_runs_and_its_clips_are_complete(server, root, name, clips):
    address, output = server
    before = set(output.rglob("*.mp4"))
    run_graph(address, example(root, name, DuetSeedSweep={"steps": 8}))
    saved = set(output.rglob("*.mp4")) - before
    assert len(saved) == clips
    for file in saved:
        clip = read_mp4(file)
        assert (clip.frames.shape, clip.fps, clip.sample_rate) == ((32, 512, 512, 3), 16.0, 16_000)
        assert abs(clip.waveform.shape[1] / clip.sample_rate - 2.0) <= 1024 / 16_000


def test_the_sample_video_keeps_its_frames_and_receives_audio(server, root):
    address, output = server
    before = set(output.rglob("duet_v2a*.mp4"))
    run_graph(address, example(root, "video_to_audio", DuetSampler={"seed": 12}))
    (file,) = set(output.rglob("duet_v2a*.mp4")) - before
    clip, sample = read_mp4(file), read_mp4(root / "web" / "samples" / "duet_drum.mp4")
    assert (clip.frames - sample.frames).abs().mean() < 0.02
    assert clip.waveform.abs().max() > 0.05


def test_the_sample_is_continued_in_both_streams(server, root):
    address, output = server
    run_graph(address, example(root, "extend_any_clip", DuetExtend={"steps": 4, "seconds": 3.0}))
    (file,) = output.rglob("duet_extended*.mp4")
    clip, sample = read_mp4(file), read_mp4(root / "web" / "samples" / "duet_drum.mp4")
    assert clip.frames.shape[0] / clip.fps == 3
    assert abs(clip.waveform.shape[1] / clip.sample_rate - 3) <= 1024 / 16_000
    assert (clip.frames[: len(sample.frames)] - sample.frames).abs().mean() < 0.05


def test_the_prior_example_stacks_four_timelines(server, root):
    address, _ = server
    history = run_graph(address, example(root, "prior_variations", DuetSampler={"steps": 4}))
    (shown,) = (out["images"] for out in history["outputs"].values() if "images" in out)
    with urllib.request.urlopen(f"{address}/view?{urllib.parse.urlencode(shown[0])}") as answer:
        picture = answer.read()
    width, height = (int.from_bytes(picture[k : k + 4], "big") for k in (16, 20))
    assert height > 1.5 * width


def test_late_audio_of_the_sample_is_measured_and_corrected(server, root):
    address, output = server
    history = run_graph(address, example(root, "measure_any_clip"))
    before, after = (int(re.search(r"audio (\d+) ms", history["outputs"][node]["text"][0])[1]) for node in ("3", "8"))
    assert abs(before - 180) <= 62.5
    assert after <= 62.5
    (saved,) = output.rglob("duet_in_sync*.mp4")
    provenance = read_provenance(saved)["duet"]
    assert provenance["files"] == {"LoadVideo file": "duet_late.mp4"}
    assert "nothing was generated" in provenance["origin"]


SMALLER = {"DuetEmptyLatent": {"width": 70, "height": 48, "seconds": 0.7}, "DuetSampler": {"steps": 2}}


@pytest.mark.parametrize(
    ("name", "shape", "rate"),
    [("javisdit_v01_prior", (17, 48, 64, 3), 24.0), ("javisdit_v10", (17, 48, 80, 3), 16.0)],
)
def test_a_javisdit_example_runs_from_official_layouts_to_a_complete_clip(server, root, name, shape, rate):
    address, output = server
    before = set(output.rglob("*.mp4"))
    history = run_graph(address, example(root, name, **SMALLER))
    (file,) = set(output.rglob("*.mp4")) - before
    clip = read_mp4(file)
    assert (clip.frames.shape, clip.fps, clip.sample_rate) == (shape, rate, 16_000)
    assert abs(clip.waveform.shape[1] / clip.sample_rate - shape[0] / rate) <= 1024 / 16_000
    if name == "javisdit_v10":
        assert "neg_prompt" in history["outputs"]["3"]["text"][0]


@pytest.mark.parametrize(
    "name",
    [
        *("ltx2_crossmodal", "ltx23_t2v", "ltx23_ia2v", "ltx23_v2a", "ltx25_t2v", "timed_events_ltx2"),
        *("h3_crossmodal", "h3_t2v", "h3_ia2v", "h3_v2a", "timed_events_h3"),
    ],
)
def test_an_example_for_a_host_model_lacks_only_its_files(server, root, name):
    address, _ = server
    graph = example(root, name)
    assert {node["class_type"] for node in graph.values()} <= set(fetch(f"{address}/object_info"))
    with pytest.raises(urllib.error.HTTPError) as refusal:
        fetch(f"{address}/prompt", {"prompt": graph})
    errors = [e for node in json.loads(refusal.value.read())["node_errors"].values() for e in node["errors"]]
    assert {e["type"] for e in errors} == {"value_not_in_list"}
    assert all(".safetensors" in e["details"] for e in errors)


def test_an_empty_prompt_is_rejected_before_anything_runs(server, root):
    address, _ = server
    graph = example(root, "text_to_av", DuetEncodePrompt={"video": " "})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        fetch(f"{address}/prompt", {"prompt": graph})
    assert "video prompt is empty" in refusal.value.read().decode()


def test_the_help_pages_are_served(server):
    address, _ = server
    with urllib.request.urlopen(f"{address}/extensions/duet/docs/DuetGuider.md", timeout=10) as page:
        assert page.read().decode().startswith("# Duet Guider")
