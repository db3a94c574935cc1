"""A tiny LTX-2 in its official layout through the host's own loaders and VAEs: the nodes use its rates, not those of the pocket model."""

from types import SimpleNamespace

import pytest
import torch

from duet_av.pipelines.bench.takes import ANY, EVENTS
from duet_av.pipelines.guidance.strategy import UCG

FRAMES, SIZE = 33, (64, 96)


@pytest.fixture(scope="module")
def ltx2(comfy, words, tmp_path_factory):
    import folder_paths
    from comfy.sd import load_checkpoint_guess_config
    from comfy_extras.nodes_lt_audio import LTXVAudioVAELoader, LTXVEmptyLatentAudio
    from official_files import FPS, SAMPLE_RATE, TEXT_WIDTH, write_ltx2

    path = tmp_path_factory.mktemp("checkpoints") / "tiny-ltx2.safetensors"
    write_ltx2(path)
    folder_paths.add_model_folder_path("checkpoints", str(path.parent))
    model, _, video_vae, _ = load_checkpoint_guess_config(str(path), output_vae=True, output_clip=False)
    audio_vae = LTXVAudioVAELoader.execute(path.name).args[0]
    sound = LTXVEmptyLatentAudio.execute(FRAMES, FPS, 1, audio_vae).args[0]["samples"]
    latent = {"samples": comfy.nested((torch.zeros(1, 128, 5, SIZE[0] // 32, SIZE[1] // 32), sound))}
    prompt = [words(seed, 9, TEXT_WIDTH, frame_rate=FPS) for seed in (1, 2)]
    return SimpleNamespace(
        model=model, vaes=(video_vae, audio_vae), latent=latent, prompt=prompt, fps=FPS, sample_rate=SAMPLE_RATE
    )


SIGMAS = torch.tensor([1.0, 0.5, 0.0])


@pytest.fixture(scope="module")
def guider(comfy, ltx2):
    return comfy.pack["DuetGuider"].execute(ltx2.model, ltx2.prompt[0], UCG(masked=True), ltx2.prompt[1]).args[0]


@pytest.fixture(scope="module")
def sampled(comfy, ltx2, guider):
    return comfy.pack["DuetSampler"].execute(guider, ltx2.latent, 3, 2, sigmas=SIGMAS).args[0]


def test_a_decoded_clip_has_the_models_own_rates_and_both_streams_end_together(run, ltx2, sampled):
    images, audio, fps = run("DuetDecode", sampled, *ltx2.vaes, False)
    assert fps == ltx2.fps
    assert images[0].shape == (FRAMES, *SIZE, 3)
    assert audio[0]["sample_rate"] == ltx2.sample_rate
    assert audio[0]["waveform"].shape[-1] == round(FRAMES / ltx2.fps * ltx2.sample_rate)


def test_a_latent_without_a_rate_is_refused_before_anything_is_decoded(run, ltx2):
    with pytest.raises(ValueError, match="does not state its frame rate"):
        run("DuetDecode", ltx2.latent, *ltx2.vaes, False)
    assert run("DuetDecode", ltx2.latent, *ltx2.vaes, False, 25.0)[2] == 25.0


def test_a_sweep_decodes_ranks_and_keeps_at_the_models_own_rates(run, ltx2, guider, tmp_path, monkeypatch):
    import folder_paths

    import duet_av.nodes.host.takes as module

    clips, clip_of = [], module.clip_of
    monkeypatch.setattr(module, "clip_of", lambda *args: clips.append(clip := clip_of(*args)) or clip)
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    settings = {"seed": 5, "takes": 2, "keep": 1, "score": ANY, "label": "", "steps": 2, "sigmas": SIGMAS}
    kept = run("DuetSeedSweep", guider, ltx2.latent, *ltx2.vaes, **settings)[0]
    assert {(clip.fps, clip.sample_rate) for clip in clips} == {(ltx2.fps, ltx2.sample_rate)}
    assert run("DuetDecode", kept, *ltx2.vaes, False)[2] == ltx2.fps


def test_swapped_vaes_are_rejected_before_anything_is_decoded(run, ltx2):
    with pytest.raises(ValueError, match="The VAEs are swapped"):
        run("DuetDecode", {**ltx2.latent, "frame_rate": 24.0}, *ltx2.vaes[::-1], False)


def test_the_events_score_of_a_sweep_is_for_the_pocket_model(run, ltx2, guider):
    settings = {"seed": 0, "takes": 1, "keep": 1, "score": EVENTS, "label": "", "steps": 2, "sigmas": SIGMAS}
    with pytest.raises(ValueError, match="only works on clips of the pocket model; this MODEL is a LTXAV"):
        run("DuetSeedSweep", guider, ltx2.latent, *ltx2.vaes, **settings)
