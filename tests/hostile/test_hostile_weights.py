"""Weights files with absurd configurations: each kind refuses them in one line before anything is built."""

import json
import tracemalloc

import pytest
import torch
from safetensors import safe_open

from duet_av.pipelines.bench.probes import AudioProbe, VideoProbe
from duet_av.pipelines.bench.readings import AUDIO_PROBE, VIDEO_PROBE
from duet_av.pipelines.core.documents import printable
from duet_av.pipelines.core.weights import KEY, load_module, save_weights
from duet_av.pipelines.models.adapter.load import load_adapter
from duet_av.pipelines.models.planner.load import load_planner
from duet_av.pipelines.models.pocket import load as pocket
from duet_av.pipelines.models.pocket.add_ons import LAYERS, load_layers, load_timed_lora
from duet_av.pipelines.models.pocket.config import POCKET
from duet_av.pipelines.models.prior.load import load_prior_net

LOADERS = {
    "pocket-av": pocket.load_network,
    "pocket-text": pocket.load_text_encoder,
    "video-codec": pocket.load_video_codec,
    "audio-codec": pocket.load_audio_codec,
    "pocket-planner": load_planner,
    "pocket-prior": load_prior_net,
    "pocket-adapter": load_adapter,
    "pocket-timed": lambda path: load_timed_lora(pocket.load_network(), "base", path),
    "audio-probe": lambda path: load_module(path, "audio-probe", AudioProbe),
    "video-probe": lambda path: load_module(path, "video-probe", VideoProbe),
    **{kind: lambda path, kind=kind: load_layers(kind, POCKET, "base", path) for kind in LAYERS},
}
FILES = {**pocket.FILES, **pocket.ADD_ONS, "audio-probe": AUDIO_PROBE, "video-probe": VIDEO_PROBE}
ABSURD = (-7, 10**12, 1e308, float("nan"), True, "\x1b[31mred", "x" * 10**4, None, [[]])


def shipped_config(kind):
    with safe_open(FILES[kind], framework="pt") as file:
        config = json.loads(file.metadata()[KEY])["config"]
    return config | ({"base": "base"} if "base" in config else {})


def refused(load, path):
    with pytest.raises(ValueError, match=path.name) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("kind", LOADERS)
def test_absurd_configurations_are_refused_before_anything_is_built(tmp_path, kind):
    path, config = tmp_path / "hostile.safetensors", shipped_config(kind)
    accepted = []
    for name in config:
        for value in ABSURD:
            save_weights(path, {"x": torch.zeros(1)}, kind=kind, config=config | {name: value}, record={})
            message = refused(LOADERS[kind], path)
            assert len(message) < 1000
            if "does not fit its own configuration" in message:  # the value is possible, but the tensors are not those
                accepted.append((name, value))
            named = any(word in message for word in (name, "direction", "trained on the base"))
            assert named or (name, value) in accepted
            assert printable(message) == message or "trained on the base" in message
    possible = {("window", None), ("gated", True), ("adapter", "\x1b[31mred")}
    assert set(accepted) <= possible


@pytest.mark.parametrize("kind", ["pocket-av", "pocket-text", "pocket-planner", "pocket-prior"])
def test_large_sizes_that_the_file_does_not_hold_allocate_nothing(tmp_path, kind):
    path, config = tmp_path / "large.safetensors", shipped_config(kind)
    width = "hidden" if kind == "pocket-prior" else "dim"
    save_weights(path, {"x": torch.zeros(1)}, kind=kind, config=config | {width: 65_280}, record={})
    tracemalloc.start()
    assert "does not fit its own configuration" in refused(LOADERS[kind], path)
    assert tracemalloc.get_traced_memory()[1] < 2**26


@pytest.mark.parametrize(
    "header", ["[" * 100_000, "[]", "7", '"a"', '{"kind": 3}', '{"kind": "video-codec", "config": []}']
)
def test_foreign_headers_are_refused(tmp_path, header):
    from safetensors.torch import save_file

    path = tmp_path / "header.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={KEY: header})
    assert printable(message := refused(pocket.load_video_codec, path)) == message
