"""The fixture of the comparison with diffusers' LTX-2 is what this ComfyUI computes. With DUET_WRITE_FIXTURES set it is written."""

import os

import torch
from ltx2_cases import FIXTURE, host_outputs
from safetensors.torch import load_file, save_file


def test_the_fixture_holds_the_outputs_of_this_comfyui(comfy):
    found = host_outputs()
    if os.environ.get("DUET_WRITE_FIXTURES"):
        save_file(found, FIXTURE)
    stored = load_file(FIXTURE)
    assert found.keys() == stored.keys()
    for name, value in stored.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
