"""JavisDiT compared with the reference's outputs, with the command that also runs on other fixtures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(folder, *more):
    command = [sys.executable, str(HERE / "compare.py"), str(folder), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_part_matches_the_reference_within_its_tolerance():
    done = run(HERE / "fixtures")
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((HERE / "fixtures" / "meta.json").read_text())
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(parts)


def test_different_weights_exceed_the_tolerance(tmp_path):
    for name in ("v10_dit.safetensors", "meta.json"):
        shutil.copy(HERE / "fixtures" / name, tmp_path)
    meta = json.loads((tmp_path / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps({"v10_dit": meta["v10_dit"]}))
    done = run(tmp_path, "--salt", "another")
    assert done.returncode == 1
    assert "TOO LARGE" in done.stdout


@pytest.mark.parametrize("name", ["v01", "v10", "prior", "opensora_vae", "audioldm2_vae", "audioldm2_vocoder"])
def test_at_full_size_the_parameters_match_the_official_keys_exactly(name):
    import torch
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    from duet_av.pipelines.models.javisdit.autoencoder import AUDIOLDM2_VAE, AutoencoderKL
    from duet_av.pipelines.models.javisdit.opensora_vae import OpenSoraVAE
    from duet_av.pipelines.models.javisdit.v01 import JavisDiT01, V01Config
    from duet_av.pipelines.models.javisdit.v10 import JavisDiT10, V10Config
    from duet_av.pipelines.models.prior.estimator import UNUSED_KEYS, PriorConfig, PriorEstimator

    vocoder = SpeechT5HifiGanConfig(
        model_in_dim=64,
        upsample_initial_channel=1024,
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        normalize_before=False,
    )
    makers = {
        "v01": lambda: JavisDiT01(V01Config()),
        "v10": lambda: JavisDiT10(V10Config()),
        "prior": lambda: PriorEstimator(PriorConfig()),
        "opensora_vae": OpenSoraVAE,
        "audioldm2_vae": lambda: AutoencoderKL(AUDIOLDM2_VAE),
        "audioldm2_vocoder": lambda: SpeechT5HifiGan(vocoder),
    }
    with torch.device("meta"):
        own = {key: list(value.shape) for key, value in makers[name]().state_dict().items()}
    official = {key: shape for key, shape in expanded(name).items() if not key.startswith(UNUSED_KEYS)}
    assert own == official


PARTS = {
    "v01": "JavisDiT v0.1",
    "v10": "JavisDiT v1.0",
    "prior": "JavisDiT v0.1's prior",
    "opensora_vae": "Open-Sora's video autoencoder v1.2",
    "audioldm2_vae": "AudioLDM2's audio autoencoder",
    "audioldm2_vocoder": "AudioLDM2's vocoder",
}


@pytest.mark.parametrize("name", PARTS)
def test_the_official_files_are_identified_by_their_tensor_names(name):
    from duet_av.pipelines.models.catalogue import identify

    assert identify(expanded(name)) == PARTS[name]


def expanded(name):
    """The official names and shapes; a row with a count represents that many blocks."""
    found = {}
    for key, shape, *count in json.loads((HERE / "keys" / f"{name}.json").read_text()):
        for i in range(*(count or [1])):
            found[key.replace("*", str(i), 1)] = shape
    return found
