"""The official LTX-2 and MiniMax H3 templates on a real server, untouched and with nodes of this pack inserted, and this pack's own
graphs for these models.

The network, VAEs and upscaler are tiny random files in their official layouts under their official names. Only the text encoder is
a stand-in, and sizes and steps are reduced."""

import json
import os
from pathlib import Path

import pytest
import torch
from comfy_server import fetch, run_graph, running_server
from safetensors.torch import load_file
from templates import H3, HEIGHT, LTX, WIDTH, flatten, of_class, reaching, read_template, reduced

from duet_av.pipelines.media.mp4 import read_mp4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: the server was not run"),
]
# Frame rate, frames and sample rate of one second. LTX has 8 k + 1 frames, H3 17 k + 5.
TEMPLATES = {
    "video_ltx2_t2v_distilled": (LTX, 24.0, 25, 24_000),
    "video_ltx2_3_t2v": (LTX, 25.0, 25, 24_000),
    "video_ltx2_3_i2v": (LTX, 25.0, 25, 24_000),
    "video_ltx2_3_ia2v": (LTX, 24.0, 25, 24_000),
    "video_ltx2_3_flf2v": (LTX, 25.0, 25, 24_000),
    "video_ltx2_5_t2v": (LTX, 24.0, 25, 24_000),
    "video_ltx2_5_i2v": (LTX, 24.0, 25, 24_000),
    "video_ltx2_5_flf2v": (LTX, 24.0, 25, 24_000),
    "video_minimax_h3_t2v": (H3, 24.0, 39, 32_000),
    "video_minimax_h3_i2v": (H3, 24.0, 39, 32_000),
}
GUIDERS = ("CFGGuider", "LTXVDualCFGGuider", "BasicGuider")


@pytest.fixture(scope="module")
def server(comfy, tmp_path_factory):
    """A server with the stand-in nodes: its address and its folder."""
    base = tmp_path_factory.mktemp("templates")
    with running_server(base, Path(__file__).parent / "stand_in") as address:
        yield address, base


@pytest.fixture(scope="module")
def graphs(comfy, server):
    """Every template in API form, reduced; the files it names exist in the server's folders."""
    from official_files import shrink_h3_vaes, write_files

    shrink_h3_vaes()
    address, base = server
    info = fetch(f"{address}/object_info")
    found = {}
    for name, (family, *_) in TEMPLATES.items():
        found[name] = reduced(flatten(read_template(name), info), family)
        write_files(found[name], family, base)
    return found


def run_and_read(server, graph):
    """The clip that ``graph`` saves."""
    address, base = server
    before = set(base.rglob("output/**/*.mp4"))
    history = run_graph(address, graph)
    (file,) = set(base.rglob("output/**/*.mp4")) - before
    return read_mp4(file), history


def check(clip, name):
    _, fps, frames, sample_rate = TEMPLATES[name]
    assert (clip.fps, len(clip.frames), clip.sample_rate) == (fps, frames, sample_rate)
    assert clip.frames.shape[1:3] == (HEIGHT, WIDTH)
    assert clip.waveform.shape[0] == 2
    assert abs(clip.waveform.shape[1] / sample_rate - frames / fps) <= 0.15


def copied(graph):
    return json.loads(json.dumps(graph))


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_official_template_runs_untouched(server, graphs, name):
    check(run_and_read(server, graphs[name])[0], name)


@pytest.mark.parametrize("name", TEMPLATES)
def test_cross_modal_guidance_before_each_guider(server, graphs, name):
    graph = copied(graphs[name])
    for number, key in enumerate(of_class(graph, *GUIDERS)):
        inputs = {"model": graph[key]["inputs"]["model"], "audio_to_video": 2.0, "video_to_audio": 2.0}
        inputs |= {"start_percent": 0.0, "end_percent": 1.0}
        graph[f"duet{number}"] = {"class_type": "DuetCrossModalGuidance", "inputs": inputs}
        graph[key]["inputs"]["model"] = [f"duet{number}", 0]
    check(run_and_read(server, graph)[0], name)


def with_duet_guider(graph):
    """``graph`` with every guider replaced by 'Duet Guider' with cross-modal guidance."""
    graph = copied(graph)
    scales = {"video": 1.0, "audio": 1.0, "audio_to_video": 2.0, "video_to_audio": 2.0}
    graph["strategy"] = {"class_type": "DuetStrategyCrossModal", "inputs": scales}
    for key in of_class(graph, *GUIDERS):
        old = graph[key]["inputs"]
        new = {"model": old["model"], "positive": old.get("positive", old.get("conditioning"))}
        new |= {"negative": old["negative"]} if "negative" in old else {}
        graph[key] = {"class_type": "DuetGuider", "inputs": new | {"strategy": ["strategy", 0]}}
    return graph


@pytest.mark.parametrize("name", TEMPLATES)
def test_duet_guider_in_place_of_each_guider(server, graphs, name):
    check(run_and_read(server, with_duet_guider(graphs[name]))[0], name)


@pytest.mark.parametrize("name", TEMPLATES)
def test_freeze_stream_keeps_the_audio_and_what_the_template_keeps(server, graphs, name):
    """The audio that enters the last sampler leaves it unchanged; a first frame that the template keeps stays as it is without Freeze."""
    _, base = server
    graph = copied(graphs[name])
    last = last_sampler(graph)
    latent = graph[last]["inputs"]["latent_image"]
    freeze = {"latent": latent, "keep": "audio", "start": 0.0, "end": 1.0, "seconds": 0.0}
    graph["freeze"] = {"class_type": "DuetFreezeStream", "inputs": freeze}
    graph[last]["inputs"]["latent_image"] = ["freeze", 0]
    for key, source in {"before": latent, "after": [last, 0]}.items():
        graph[key] = {"class_type": "StandInSaveLatent", "inputs": {"latent": source, "name": f"{name}_{key}"}}
    check(run_and_read(server, graph)[0], name)
    before, after = (load_file(base / "output" / f"{name}_{key}.safetensors") for key in ("before", "after"))
    assert torch.allclose(before["audio"], after["audio"], atol=1e-5)
    assert not torch.allclose(before["video"], after["video"], atol=1e-2)


def last_sampler(graph):
    """The sampler of the only or the second stage, whose latent comes from another sampler."""
    samplers = of_class(graph, "SamplerCustomAdvanced")

    def follows_another(key):
        before = reaching(graph, [graph[key]["inputs"]["latent_image"][0]])
        return any(name in before for name in samplers)

    return next((key for key in samplers if follows_another(key)), samplers[0])


@pytest.mark.parametrize("name", TEMPLATES)
def test_decoding_measuring_and_sweeping_at_the_models_rates(server, graphs, name):
    """Decode, Sync Meter and Mux after the last sampler; a Seed Sweep of it; the prompt from Timeline Prompt."""
    graph = with_duet_guider(graphs[name])
    last = last_sampler(graph)
    (video_decoder,) = of_class(graph, "VAEDecode", "VAEDecodeTiled")
    (audio_decoder,) = of_class(graph, "VAEDecodeAudio", "LTXVAudioVAEDecode")
    vaes = {"video_vae": graph[video_decoder]["inputs"]["vae"]}
    audio_inputs = graph[audio_decoder]["inputs"]
    vaes["audio_vae"] = audio_inputs.get("audio_vae", audio_inputs.get("vae"))
    sampler = graph[last]["inputs"]
    sweep = {"guider": sampler["guider"], "latent": sampler["latent_image"], **vaes, "seed": 3, "takes": 2, "keep": 1}
    sweep |= {"score": "sound and motion in step (any clip)", "label": "", "steps": 2}
    graph["sweep"] = {"class_type": "DuetSeedSweep", "inputs": sweep | {k: sampler[k] for k in ("sampler", "sigmas")}}
    graph["decode"] = {"class_type": "DuetDecode", "inputs": {"latent": ["sweep", 0], **vaes, "tiling": False}}
    clip = {"images": ["decode", 0], "audio": ["decode", 1], "fps": ["decode", 2]}
    graph["meter"] = {"class_type": "DuetSyncMeter", "inputs": clip}
    graph["mux"] = {"class_type": "DuetMux", "inputs": {**clip, "enlarge": 1}}
    timeline = {"prompt": "A dog barks.", "style": "beats", "timeline": "0.5 dog left", "seconds": 1.0, "seed": 0}
    graph["timeline"] = {"class_type": "DuetTimelinePrompt", "inputs": timeline}
    for key in of_class(graph, "MiniMaxH3ImageToVideo"):
        graph[key]["inputs"]["prompt"] = ["timeline", 0]
    for key in of_class(graph, "CLIPTextEncode")[:1]:
        graph[key]["inputs"]["text"] = ["timeline", 0]
    (save,) = of_class(graph, "SaveVideo")
    graph[save]["inputs"]["video"] = ["mux", 0]
    graph = reaching(graph, [save, "meter"])
    clip, history = run_and_read(server, graph)
    check(clip, name)
    assert history["outputs"]["meter"]["text"]


# This pack's own graphs for one second; the second value is the factor by which a second stage enlarges.
OWN = {
    "ltx23_t2v": (LTX, 2, 24.0, 25, 24_000),
    "ltx23_ia2v": (LTX, 2, 24.0, 25, 44_100),  # the audio file's own sample rate
    "timed_events_ltx2": (LTX, 2, 24.0, 121, 24_000),
    "timed_events_h3": (H3, 1, 24.0, 124, 32_000),
    "h3_ia2v": (H3, 1, 24.0, 39, 44_100),
    "ltx25_t2v": (LTX, 2, 24.0, 25, 24_000),
    "ltx2_crossmodal": (LTX, 1, 25.0, 25, 24_000),
    "h3_t2v": (H3, 1, 24.0, 39, 32_000),
    "h3_crossmodal": (H3, 1, 24.0, 39, 32_000),
}


def run_own(server, root, name, family, frames):
    """The clip of an example graph of this pack with random weights in the official files, at a small size."""
    from official_files import write_files

    graph = reduced(json.loads((root / "workflows" / "api" / f"{name}.json").read_text()), family)
    smaller = {"width": WIDTH, "height": HEIGHT, "length": frames, "frames_number": frames, "steps": 2}
    for node in graph.values():
        node["inputs"] |= {slot: value for slot, value in smaller.items() if isinstance(node["inputs"].get(slot), int)}
    write_files(graph, family, server[1])
    return run_and_read(server, graph)[0]


@pytest.mark.parametrize("name", OWN)
def test_an_example_graph_of_this_pack_runs_to_a_complete_clip(server, graphs, root, name):
    family, enlarged, fps, frames, sample_rate = OWN[name]
    clip = run_own(server, root, name, family, frames)
    assert (clip.fps, len(clip.frames), clip.sample_rate) == (fps, frames, sample_rate)
    assert clip.frames.shape[1:3] == (enlarged * HEIGHT, enlarged * WIDTH)
    assert abs(clip.waveform.shape[1] / sample_rate - frames / fps) <= 0.15


@pytest.mark.parametrize(("name", "family", "rate"), [("ltx23_v2a", LTX, 24_000), ("h3_v2a", H3, 32_000)])
def test_a_video_keeps_its_frames_and_receives_sound(server, graphs, root, name, family, rate):
    clip = run_own(server, root, name, family, 192 if family == H3 else 193)
    sample = read_mp4(root / "web" / "samples" / "duet_late.mp4")
    assert (clip.fps, clip.sample_rate, clip.frames.shape) == (sample.fps, rate, sample.frames.shape)
    assert (clip.frames - sample.frames).abs().mean() < 0.02
    assert abs(clip.waveform.shape[1] / rate - len(sample.frames) / sample.fps) < 0.1
    assert clip.waveform[:, -rate // 2 :].abs().max() > 1e-4, "there is sound to the end"
