"""JavisDiT's files inside a real ComfyUI: wrong, missing and damaged files, what the report says about them, and the codecs in them."""

import shutil

import pytest
import torch

FIRST, SECOND = "JavisDiT-v0.1-jav-240p4s/", "JavisDiT-v1.0-jav/"
AUTO = ("auto", "auto", "auto")  # text encoder, video VAE, audio VAE


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (("JavisDiT-v0.1-prior/", "auto", "auto", "auto"), "this is JavisDiT v0.1's prior; 'Duet Load AV' supports"),
        ((FIRST, "umt5_xxl.safetensors", "auto", "auto"), "this is UMT5-XXL; T5-XXL is required"),
        ((SECOND, "auto", "OpenSora-VAE-v1.2/", "auto"), "this is Open-Sora's video autoencoder v1.2; Wan2.1's"),
        ((FIRST, "auto", "auto", "wan_2.1_vae.safetensors"), r"config\.json is missing"),
        (("gone.safetensors", "auto", "auto", "auto"), "no longer exists"),
    ],
)
def test_the_error_for_a_wrong_file_names_its_kind_and_the_required_kind(run, javis_folder, choice, message):
    with pytest.raises(ValueError, match=message):
        run("DuetLoadAV", *choice)


def test_the_error_for_a_missing_part_names_its_source_and_licence(run, javis_folder, tmp_path):
    folder = javis_folder / "vae" / "audioldm2"
    shutil.move(folder, tmp_path / "away")
    try:
        with pytest.raises(ValueError, match=r"cvssp/audioldm2.*non-commercial"):
            run("DuetLoadAV", FIRST, *AUTO)
        report = run("DuetDoctor")[0]
        assert "MISSING  in models/vae" in report
        assert "JavisDiT v0.1: still needed: AudioLDM2's audio autoencoder into models/vae; then press R" in report
    finally:
        shutil.move(tmp_path / "away", folder)


def test_a_damaged_file_of_another_model_does_not_stop_the_search(run, javis_folder):
    damaged = javis_folder / "vae" / "a_damaged.safetensors"
    damaged.write_bytes(b"half")
    try:
        assert len(run("DuetLoadAV", FIRST, *AUTO)) == 5
        with pytest.raises(ValueError, match="not a complete safetensors file"):
            run("DuetLoadAV", FIRST, "auto", damaged.name, "auto")
    finally:
        damaged.unlink()


def test_the_doctor_lists_files_licences_and_memory(run, javis_folder):
    report = run("DuetDoctor", run("DuetLoadAV", FIRST, *AUTO)[0])[0]
    for expected in (
        "MODEL: JavisDiT v0.1",
        "found    ",
        "sha256",
        "non-commercial",
        "MiniMax H3",
        "as reported",
        "GB of working memory at 240p",
    ):
        assert expected in report
    assert "MISSING" not in report
    assert "JavisDiT v0.1: complete; open the template javisdit_v01_prior" in report


def test_the_loader_reports_licences(run, javis_folder):
    assert "audioldm2: CC-BY-NC-SA-4.0, non-commercial" in run("DuetLoadAV", FIRST, *AUTO)[4]


def test_the_hosts_own_nodes_encode_and_decode_with_both_codecs(comfy, run, javis_folder):
    video_vae, audio_vae = run("DuetLoadAV", FIRST, *AUTO)[2:4]
    images = torch.rand(17, 48, 64, 3)
    (latent,) = comfy.core.VAEEncode().encode(video_vae, images)
    assert latent["samples"].shape == (1, 4, 5, 6, 8)
    assert comfy.core.VAEDecode().decode(video_vae, latent)[0].shape == (17, 48, 64, 3)
    (still,) = comfy.core.VAEEncode().encode(video_vae, images[:1])
    assert still["samples"].shape == (1, 4, 1, 6, 8)
    encoded = comfy.audio.VAEEncodeAudio.execute(
        audio_vae, {"waveform": torch.randn(1, 1, 11_333), "sample_rate": 16_000}
    )
    assert encoded.args[0]["samples"].shape == (1, 8, 24, 16)
