"""Damaged and foreign files of JavisDiT: each is refused with a message that names the file and the rule."""

import importlib.util
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from duet_av.pipelines.core.documents import printable
from duet_av.pipelines.models.javisdit.files import read_checkpoint
from duet_av.pipelines.models.javisdit.load import (
    load_audioldm2_codec,
    load_video_autoencoder,
    network_sizes,
)
from duet_av.pipelines.models.javisdit.load_prior import load_prior
from duet_av.pipelines.models.javisdit.v01 import JavisDiT01
from duet_av.pipelines.models.javisdit.v10 import JavisDiT10

spec = importlib.util.spec_from_file_location(
    "javisdit_files", Path(__file__).parents[1] / "nodes" / "javisdit_files.py"
)
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
WEIGHT = {"a.q.weight": torch.zeros(4, 4)}


def saved(found):
    return lambda path: torch.save(found, path)


def truncated(path):
    torch.save(WEIGHT, path)
    path.write_bytes(path.read_bytes()[:-100])


PICKLES = {
    "truncated": truncated,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("\x1b[31mhello"),
    "protocol only": lambda path: path.write_bytes(b"\x80\x04."),
    "zip header": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(64)),
    "old pickle": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
    "code": saved({"a": print}),
    "list": saved([torch.zeros(1)]),
    "nested": saved({"state_dict": WEIGHT}),
    "integer keys": saved({0: torch.zeros(1)}),
    "numbers": saved({"a": 1}),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("case", PICKLES)
def test_hostile_pickles(tmp_path, case):
    PICKLES[case](tmp_path / "weights.bin")
    with pytest.raises(ValueError, match=r"weights\.bin") as caught:
        read_checkpoint(tmp_path / "weights.bin")
    assert printable(caught.value) == str(caught.value)


INDICES = (
    *(
        "[]",
        "7",
        "null",
        "{",
        "[" * 100_000,
        '{"weight_map": []}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": null}}',
    ),
    '{"weight_map": {"a": "missing.safetensors"}}',
)


@pytest.mark.parametrize("index", INDICES)
def test_hostile_indices(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ValueError, match=r"index\.json"):
        read_checkpoint(tmp_path)


A, B = torch.zeros(2, 4), torch.zeros(4, 2)
LORAS = {
    "without B": ({"a.q.lora_A.weight": A}, {"r": 2, "lora_alpha": 2}, "without its lora_B"),
    "another rank": (
        {"a.q.lora_A.weight": A, "a.q.lora_B.weight": torch.zeros(4, 3)},
        {"r": 2, "lora_alpha": 2},
        "do not fit",
    ),
    "another width": (
        {"a.q.lora_A.weight": torch.zeros(2, 5), "a.q.lora_B.weight": B},
        {"r": 2, "lora_alpha": 2},
        "do not fit",
    ),
    "vectors": ({"a.q.lora_A.weight": A[0], "a.q.lora_B.weight": B}, {"r": 2, "lora_alpha": 2}, "do not fit"),
    "rank zero": ({"a.q.lora_A.weight": A, "a.q.lora_B.weight": B}, {"r": 0, "lora_alpha": 2}, "r is 0"),
    "rank text": ({"a.q.lora_A.weight": A, "a.q.lora_B.weight": B}, {"r": "2", "lora_alpha": 2}, "r is '2'"),
    "scale infinite": (
        {"a.q.lora_A.weight": A, "a.q.lora_B.weight": B},
        {"r": 2, "lora_alpha": float("inf")},
        "lora_alpha is inf",
    ),
    "no scale": ({"a.q.lora_A.weight": A, "a.q.lora_B.weight": B}, {"r": 2}, "'lora_alpha' is missing"),
}


@pytest.mark.parametrize("case", LORAS)
def test_hostile_loras(tmp_path, case):
    tensors, config, message = LORAS[case]
    for name, part in (("model", WEIGHT), ("lora", tensors)):
        (tmp_path / name).mkdir()
        save_file(part, tmp_path / name / "a.safetensors")
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message) as caught:
        read_checkpoint(tmp_path)
    assert str(tmp_path / "lora") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "network", "config"),
    [("JavisDiT v0.1", JavisDiT01, tiny.V01), ("JavisDiT v1.0", JavisDiT10, tiny.V10)],
)
def test_every_missing_or_misshapen_tensor_of_a_network_is_reported(name, network, config):
    tensors, source = network(config).state_dict(), Path("model.safetensors")
    assert network_sizes(name, tensors, source=source) == config
    for key in list(tensors)[::19]:
        for changed in (None, torch.zeros(0), torch.zeros(3), torch.zeros(1, 1, 1, 1, 1, 1)):
            wrong = {k: z for k, z in tensors.items() if k != key} | ({} if changed is None else {key: changed})
            with pytest.raises(ValueError, match=r"model\.safetensors"):
                network_sizes(name, wrong, source=source)
    blocks = "va_cross_blocks." if "v0.1" in name else "blocks."
    with pytest.raises(ValueError, match="at most 512"):
        network_sizes(name, tensors | {f"{blocks}999999999999.x": torch.zeros(1)}, source=source)


VOCODERS = {
    "negative rates": {"upsample_rates": [-4, 4]},
    "absurd channels": {"upsample_initial_channel": 10**12},
    "rates that are a text": {"upsample_rates": "44"},
    "no rates": {"upsample_rates": []},
    "rate of samples": {"sampling_rate": -7},
    "nested wrongly": {"resblock_dilation_sizes": [1, 2]},
}


@pytest.mark.parametrize("case", VOCODERS)
def test_hostile_vocoders(tmp_path, case):
    tiny.audioldm2(tmp_path)
    file = tmp_path / "vocoder" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | VOCODERS[case]))
    with pytest.raises(ValueError, match=r"vocoder.config\.json: (upsample|sampling|resblock)"):
        load_audioldm2_codec(tmp_path)


def test_files_of_whole_numbers_are_refused(tmp_path):
    names = ("temporal_vae.quant_conv.conv.weight", "spatial_query_emb", "in_proj.weight")
    for name, load in ((names[0], load_video_autoencoder), (names[1], load_prior)):
        save_file({name: torch.zeros(2, dtype=torch.int32)}, tmp_path / "whole.safetensors")
        with pytest.raises(ValueError, match=r"whole\.safetensors"):
            load(tmp_path / "whole.safetensors")
